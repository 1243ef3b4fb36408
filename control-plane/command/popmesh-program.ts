import { Command } from "commander";
import { register as registerApply } from "./apply.ts";
import { register as registerBrokerDrain } from "./broker-drain.ts";
import { register as registerDelete } from "./delete.ts";
import { register as registerDescribe } from "./describe.ts";
import { register as registerDiff } from "./diff.ts";
import { register as registerDlq } from "./dlq.ts";
import { register as registerExplain } from "./explain.ts";
import { register as registerForgetBroker } from "./forget-broker.ts";
import { register as registerGet } from "./get.ts";
import { register as registerGroup } from "./group.ts";
import { register as registerHistory } from "./history.ts";
import { register as registerLanes } from "./lanes.ts";
import { register as registerMessage } from "./message.ts";
import { register as registerNamespace } from "./namespace.ts";
import { becomeProcess, type ProcessName, processNames } from "./process-entry.ts";
import { register as registerRollout } from "./rollout.ts";
import { register as registerTopic } from "./topic.ts";
import { register as registerTopicTransfer } from "./topic-transfer.ts";
import { register as registerUp } from "./up.ts";

/** What a process has beside itself, for the list of commands. */
const beside: Partial<Record<ProcessName, string>> = {
  broker: "; broker drain|undrain|status NAME: let one finish, and see how far it is",
};

/** The command `popmesh`: every sub-command registers itself; this file only lists them. */
export function popmeshProgram(): Command {
  const program = new Command("popmesh")
    .description("A service mesh for messages.")
    .showHelpAfterError("(popmesh --help lists the commands)");

  registerUp(program);
  for (const name of processNames) {
    const command = program
      .command(name)
      .description(`run one ${name} process; its own --help lists the settings${beside[name] ?? ""}`)
      .helpOption(false)
      .helpCommand(false)
      .allowUnknownOption()
      .argument("[settings...]")
      .action((settings: string[]) => becomeProcess(name, settings));
    if (name === "broker") registerBrokerDrain(command);
  }
  registerApply(program);
  registerDiff(program);
  registerGet(program);
  registerDescribe(program);
  registerDelete(program);
  registerHistory(program);
  registerRollout(program);
  registerTopicTransfer(registerTopic(program));
  registerGroup(program);
  registerNamespace(program);
  registerDlq(program);
  registerMessage(program);
  registerExplain(program);
  registerLanes(program);
  registerForgetBroker(program);
  return program;
}
