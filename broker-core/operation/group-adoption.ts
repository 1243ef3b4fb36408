import { z } from "zod";
import { Code } from "../../proto/code.ts";
import type { Operated } from "../broker-port.ts";
import { RecordType } from "../commit-log/log.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import type { Journal } from "../dispatch/journal.ts";
import { isUnnamed } from "../topic/consumer-group.ts";
import { type Operation, operation } from "./operations.ts";

/**
 * `group.adopt`: where the names of groups are lost with a damaged part of the log (dispatch/damage-repair.ts), an operator says which
 * of them a group is, so that it goes on where it was; or, without a number, that it is none of them and begins anew.
 */
export function groupAdoption(tables: BrokerTables, journal: Journal): Operation {
  const parameters = z.strictObject({ group: z.string(), groupId: z.number().int().min(1).optional() });
  return operation("group.adopt", parameters, ({ group: name, groupId }): Operated => {
    const { groups } = tables;
    if (groups.byName(name) !== undefined) return refused(`group ${name} is known here: it has its positions`);
    if (groupId === undefined) {
      const policy = { groupId: groups.nextId, name, generation: 0, attemptsMax: 0, inflightMax: 0 };
      const backoff = { delaysMs: [], initialMs: 0, maxMs: 0, multiplier: 0 };
      const position = journal.group(RecordType.GroupOpened, { ...policy, ...backoff });
      return { ok: true, result: { group: name, groupId: policy.groupId, isNew: true }, position };
    }
    const found = groups.byId(groupId);
    if (found === undefined || !isUnnamed(found)) {
      const unnamed = [...groups.all()].filter(isUnnamed).map(({ id }) => id);
      const known = unnamed.length === 0 ? "no group has lost its name here" : `those are ${unnamed.join(", ")}`;
      return refused(`group ${groupId} has not lost its name; ${known}`);
    }
    const position = journal.group(RecordType.GroupChanged, { ...found.policy, name });
    return { ok: true, result: { group: name, groupId, isNew: false }, position };
  });
}

function refused(message: string): Operated {
  return { ok: false, code: Code.BadRequest, message };
}
