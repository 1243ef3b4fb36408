/**
 * Property keys that an application must not use, because classic brokers and clients keep their own values under them. The
 * second group is not refused by the reference server although it is internal; here it is, so that nothing internal can be
 * forged or shows up among an application's properties.
 */
const reservedKeys: ReadonlySet<string> = new Set([
  ..."TRACE_ON MSG_REGION KEYS TAGS WAIT DELAY RETRY_TOPIC REAL_TOPIC REAL_QID TRAN_MSG PGROUP MIN_OFFSET".split(" "),
  ..."MAX_OFFSET BUYER_ID ORIGIN_MESSAGE_ID TRANSFER_FLAG CORRECTION_FLAG MQ2_FLAG RECONSUME_TIME UNIQ_KEY".split(" "),
  ..."MAX_RECONSUME_TIMES CONSUME_START_TIME POP_CK POP_CK_OFFSET 1ST_POP_TIME TRAN_PREPARED_QUEUE_OFFSET".split(" "),
  ..."DUP_INFO EXTEND_UNIQ_INFO INSTANCE_ID CORRELATION_ID REPLY_TO_CLIENT TTL ARRIVE_TIME PUSH_REPLY_TIME".split(" "),
  ..."CLUSTER MSG_TYPE INNER_MULTI_QUEUE_OFFSET TIMER_DELAY_MS TIMER_DELAY_SEC TIMER_DELIVER_MS".split(" "),
  ..."TIMER_ENQUEUE_MS TIMER_DEQUEUE_MS TIMER_ROLL_TIMES TIMER_OUT_MS TIMER_DEL_UNIQKEY TIMER_DELAY_LEVEL".split(" "),
  ..."__BORNHOST BORN_TIMESTAMP DLQ_ORIGIN_TOPIC DLQ_ORIGIN_MESSAGE_ID __CRC32#".split(" "),

  ..."__SHARDINGKEY TRACE_CONTEXT CHECK_IMMUNITY_TIME_IN_SECONDS __transactionId__".split(" "),
  ..."TRANSACTION_CHECK_TIMES INNER_NUM INNER_BASE INNER_MULTI_DISPATCH REDIRECT PROPERTY_FORWARD_QUEUE_ID".split(" "),
]);

const reservedPrefix = "__RMQ.";

export function isReservedPropertyKey(key: string): boolean {
  return reservedKeys.has(key) || key.startsWith(reservedPrefix);
}
