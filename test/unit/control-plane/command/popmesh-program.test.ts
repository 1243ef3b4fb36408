import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { brokerHelp } from "../../../../broker-core/config.ts";
import { popmeshProgram } from "../../../../control-plane/command/popmesh-program.ts";
import { describeControlPlaneConfig } from "../../../../control-plane/config.ts";
import { sidecarHelp } from "../../../../sidecar/config.ts";
import { repositoryRoot } from "../../../support/running-process.ts";

interface Shown {
  readonly document: string;
  readonly text: string;
}

/** Every `popmesh …` in the documents: in code spans, and as lines of blocks. */
function shownCommands(): Shown[] {
  const documents = ["README.md", ...readdirSync(join(repositoryRoot, "docs")).map((name) => `docs/${name}`)];
  return documents
    .filter((document) => document.endsWith(".md"))
    .flatMap((document) => {
      const text = readFileSync(join(repositoryRoot, document), "utf8");
      const spans = [...text.matchAll(/`(?:npx )?(popmesh [^`]+)`/g)].map(([, span = ""]) =>
        span.replaceAll(/\s+/g, " "),
      );
      const lines = [...text.matchAll(/^(?: {4}(?:npx )?|npx )(popmesh .*)$/gm)].map(([, line = ""]) =>
        line
          .replace(/\s+#.*$/, "")
          .replace(/ {2,}.*$/, "")
          .trim(),
      );
      return [...spans, ...lines].map((shown) => ({ document, text: shown }));
    });
}

/** What the processes say of their settings; `popmesh broker check` has a word of its own. */
const processHelp: Readonly<Record<string, string>> = {
  broker: `${brokerHelp()} check`,
  sidecar: sidecarHelp(),
  "control-plane": describeControlPlaneConfig(),
};

/** Alternatives as documents write them: "off|on". */
const alternatives = (word: string) => word.split("|");
/** NAME, <name>, [name], …: what a reader puts in. */
const isPlaceholder = (word: string) => /^(?:[A-Z][A-Z_-]*|[<["'{].*|…|\.\.\.)$/.test(word);

/** Without what belongs to the sentence, or says that it may be left out. */
const wordsOf = (text: string) =>
  text
    .replaceAll(/[,;:.)\]]+(?= |$)/g, "")
    .replaceAll(" [-", " -")
    .split(" ");

/** What is wrong with a command as it is shown; undefined: nothing. */
function wrongWith(program: Command, text: string): string | undefined {
  const [, ...words] = wordsOf(text);
  let command = program;
  let argumentsSeen = 0;
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if (word === "…") return undefined;
    if (/^-/.test(word)) {
      const [flag = ""] = word.split("=");
      if (flag === "--help" || flag === "-h") continue;
      const known = command.options.find(({ long, short }) => flag === long || flag === short);
      const process = processHelp[command.name()];
      if (known === undefined && (process === undefined || !process.includes(`${flag} `))) {
        return `${command.name()} has no option ${flag}`;
      }
      // Its value.
      if ((known?.required === true || known?.optional === true || process !== undefined) && !word.includes("=")) i++;
      continue;
    }
    const subs = alternatives(word).map((name) => command.commands.find((sub) => sub.name() === name));
    if (subs[0] !== undefined && argumentsSeen === 0) {
      const missing = alternatives(word).find((_, at) => subs[at] === undefined);
      if (missing !== undefined) return `${command.name()} has no command ${missing}`;
      command = subs[0];
      continue;
    }
    const process = processHelp[command.name()];
    if (process !== undefined) {
      if (!isPlaceholder(word) && !process.includes(word)) return `${command.name()} knows no ${word}`;
      continue;
    }
    const argument = command.registeredArguments[argumentsSeen++];
    if (argument === undefined) {
      // A sentence may go on in the span; a command that takes commands may not.
      return command.commands.length > 0
        ? `${command.name()} has no command ${word}`
        : `${command.name()} takes no ${word}`;
    }
    const kinds = argument.name().includes("|") ? alternatives(argument.name()) : undefined;
    const wrong = isPlaceholder(word) ? undefined : alternatives(word).find((kind) => kinds?.includes(kind) === false);
    if (wrong !== undefined) return `${command.name()} takes ${argument.name()}, not ${wrong}`;
  }
  return undefined;
}

/** "rollout status" and so on: all that do something. */
function leaves(command: Command, path: string[] = []): string[] {
  return command.commands.flatMap((sub) => {
    const below = leaves(sub, [...path, sub.name()]);
    return below.length === 0 || sub.name() in processHelp ? [[...path, sub.name()].join(" "), ...below] : below;
  });
}

describe("the command popmesh", () => {
  const shown = shownCommands();

  it("knows every command, option and kind that a document shows", () => {
    assert.ok(shown.length > 150, `only ${shown.length} commands were found`);
    const wrong = shown.flatMap(({ document, text }) => {
      const why = wrongWith(popmeshProgram(), text);
      return why === undefined ? [] : [`${document}: ${text}: ${why}`];
    });
    assert.deepEqual(wrong, []);
  });

  it("has no command that no document shows", () => {
    const told = new Set(
      shown.flatMap(({ text }) => {
        const [, first = "", second = ""] = wordsOf(text);
        return alternatives(first).flatMap((one) => [one, ...alternatives(second).map((other) => `${one} ${other}`)]);
      }),
    );
    assert.deepEqual(
      leaves(popmeshProgram()).filter((path) => !told.has(path)),
      [],
    );
  });

  it("would be seen to be shown wrongly", () => {
    for (const text of [
      "popmesh lanes of",
      "popmesh get lane-rules",
      "popmesh describe lanerule orders --wide",
      "popmesh broker --data-directory x",
      "popmesh forget",
    ]) {
      assert.notEqual(wrongWith(popmeshProgram(), text), undefined, text);
    }
  });

  it("explains each of its commands to who asks with --help", () => {
    const silent: string[] = [];
    const walk = (command: Command, path: string) => {
      for (const sub of command.commands) {
        const own = `${path} ${sub.name()}`;
        if (sub.description() === "" || (!(sub.name() in processHelp) && !/--help/.test(sub.helpInformation())))
          silent.push(own);
        walk(sub, own);
      }
    };
    walk(popmeshProgram(), "popmesh");
    assert.deepEqual(silent, []);
  });
});
