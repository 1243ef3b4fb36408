#!/usr/bin/env node
import { printError } from "./output.ts";
import { popmeshProgram } from "./popmesh-program.ts";

try {
  await popmeshProgram().parseAsync();
} catch (error) {
  printError(`popmesh: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
