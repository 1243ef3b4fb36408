import type { Log } from "../../proto/runtime/log.ts";
import type { MetricRegistry } from "../../proto/runtime/metric.ts";
import type { NamespaceBinding } from "../filter/namespace-binding.ts";
import type { Router } from "../filter/router.ts";
import type { LaneMarks } from "../lane/lane-marks.ts";
import type { LimitTable } from "../limit/limit-table.ts";
import type { GroupPolicy } from "../route/topic-route.ts";
import type { OwnAddress } from "../route/topic-route-view.ts";
import { AckMessageMethod } from "./ack-message.ts";
import type { AutoRenewal } from "./auto-renewal.ts";
import type { CallEntry } from "./call-entry.ts";
import { ChangeInvisibleDurationMethod } from "./change-invisible-duration.ts";
import type { ClientSessions } from "./client-session.ts";
import { endTransaction } from "./end-transaction.ts";
import { forwardToDeadLetterQueue } from "./forward-to-dead-letter-queue.ts";
import { heartbeat } from "./heartbeat.ts";
import type { GrpcMethod } from "./http2/grpc-method.ts";
import type { LaneConsumers } from "./lane-consumers.ts";
import type { LiveProducers } from "./live-producers.ts";
import { notifyClientTermination } from "./notify-client-termination.ts";
import { getOffset, queryOffset, updateOffset } from "./offset-methods.ts";
import { PullMessageMethod } from "./pull-message.ts";
import { queryAssignment } from "./query-assignment.ts";
import { queryRoute } from "./query-route.ts";
import { recallMessage } from "./recall-message.ts";
import { ReceiveMessageMethod } from "./receive-message.ts";
import { SendMessageMethod } from "./send-message.ts";
import type { StallWatch } from "./stall-watch.ts";
import { syncLiteSubscription } from "./sync-lite-subscription.ts";
import { TelemetryMethod } from "./telemetry.ts";
import { unaryMethod } from "./unary-method.ts";

export interface MessagingServiceDeps {
  readonly entry: CallEntry;
  readonly router: Router;
  readonly sessions: ClientSessions;
  readonly renewal: AutoRenewal;
  readonly producers: LiveProducers;
  readonly stalls: StallWatch;
  readonly lanes: LaneMarks;
  readonly limits: LimitTable;
  /** Undefined in the base lane, whose consumers nobody has to know. */
  readonly consumers: LaneConsumers | undefined;
  readonly log: Log;
  readonly metrics: MetricRegistry;
  readonly namespaces: NamespaceBinding;
  readonly defaultPolicy: (name: string) => GroupPolicy;
  /** Where this sidecar listens; asked for with each answer, because the port is known only after listening. */
  readonly own: () => OwnAddress;
}

/** `apache.rocketmq.v2.MessagingService`: one line per RPC. */
export interface MessagingService {
  readonly methods: readonly GrpcMethod[];
  readonly receive: ReceiveMessageMethod;
  readonly telemetry: TelemetryMethod;
}

export function messagingService(deps: MessagingServiceDeps): MessagingService {
  const { entry, router, sessions, renewal, producers, stalls, lanes, limits, consumers, log, metrics, own } = deps;
  const receive = new ReceiveMessageMethod({ entry, router, renewal, stalls, lanes, limits, consumers, log, metrics });
  const telemetry = new TelemetryMethod({ ...deps, clock: entry.clock });
  return {
    receive,
    telemetry,
    methods: [
      new SendMessageMethod(entry, router, producers, lanes),
      receive,
      new AckMessageMethod(entry, router, renewal),
      new ChangeInvisibleDurationMethod(entry, router, renewal),
      telemetry,
      unaryMethod(
        entry,
        queryRoute(router, own, (clientId) => telemetry.onRouteAnswered(clientId)),
      ),
      unaryMethod(entry, queryAssignment(router, own)),
      unaryMethod(entry, heartbeat(sessions)),
      unaryMethod(entry, notifyClientTermination(sessions, renewal, producers, consumers)),
      unaryMethod(entry, forwardToDeadLetterQueue(router, sessions, renewal)),
      unaryMethod(entry, endTransaction(router)),
      unaryMethod(entry, recallMessage(router)),
      unaryMethod(entry, syncLiteSubscription(router)),
      new PullMessageMethod(entry, router, limits),
      unaryMethod(entry, updateOffset(router)),
      unaryMethod(entry, getOffset(router)),
      unaryMethod(entry, queryOffset(router)),
    ],
  };
}
