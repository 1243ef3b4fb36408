import { z } from "zod";
import { type Now, noPosition, type Operated } from "../broker-port.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import type { Journal } from "../dispatch/journal.ts";
import { type Operation, operation } from "./operations.ts";

const order = z.strictObject({ state: z.enum(["off", "on"]), by: z.string().max(128).default("") });

/**
 * `lanes.switch { state, by? }`: suspends all lanes of this broker ("off"), or lets them go on; the same again changes nothing. `lanes.status`:
 * how it stands, and what is there to be suspended. Rules that come meanwhile are taken and stay suspended.
 */
export function laneSwitching(tables: BrokerTables, journal: Journal, onSwitched: (now: Now) => void): Operation[] {
  return [
    operation("lanes.switch", order, ({ state, by }, now): Operated => {
      const isOff = state === "off";
      if (tables.laneRules.lanes.isOff === isOff) {
        return { ok: true, result: { isChanged: false, ...lanesStatus(tables) }, position: journal.lastPosition };
      }
      const position = journal.lanesSwitched({ isOff, wallMs: now.wallMs, by });
      onSwitched(now);
      return { ok: true, result: { isChanged: true, ...lanesStatus(tables) }, position };
    }),
    operation(
      "lanes.status",
      z.strictObject({}),
      (): Operated => ({ ok: true, result: lanesStatus(tables), position: noPosition }),
    ),
  ];
}

function lanesStatus({ laneRules, subscriptions, queues }: BrokerTables): object {
  const { isOff, sinceMs, by } = laneRules.lanes;
  let [lanes, spilled, ready, inFlight] = [0, 0, 0, 0];
  for (const { lanes: of, topic } of subscriptions.laned) {
    for (const lane of of?.all() ?? []) {
      lanes++;
      if (lane.isSpilled) spilled++;
      inFlight += lane.inFlight;
      ready += lane.ready.count + lane.unlocked.count;
      for (let queueId = 0; queueId < topic.queues.length; queueId++) {
        ready += of!.countAhead(queues, queueId, Number.POSITIVE_INFINITY, lane);
      }
    }
  }
  const rules = laneRules.all().reduce((count, [, topic]) => count + topic.current.rules.length, 0);
  const since = sinceMs === 0 ? null : new Date(sinceMs).toISOString();
  return { state: isOff ? "off" : "on", since, by, rules, lanes, spilled, ready, inFlight };
}
