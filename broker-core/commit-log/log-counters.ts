import type { Counter, Histogram, MetricRegistry } from "../../proto/runtime/metric.ts";

/** What the log counts about itself. */
export class LogCounters {
  readonly batches: Counter;
  readonly records: Counter;
  readonly bytes: Counter;
  readonly rolls: Counter;
  readonly removedSegments: Counter;
  readonly zeroedBytes: Counter;
  readonly recycledSegments: Counter;
  readonly damagedReads: Counter;
  readonly readAheadBytes: Counter;
  readonly syncSeconds: Histogram;

  constructor(metrics: MetricRegistry) {
    this.batches = metrics.counter("popmesh_broker_log_batches_total", "Batches written to the commit log.");
    this.records = metrics.counter("popmesh_broker_log_records_total", "Records written to the commit log.");
    this.bytes = metrics.counter("popmesh_broker_log_written_bytes_total", "Bytes written to the commit log.");
    this.rolls = metrics.counter("popmesh_broker_log_segments_total", "Segments taken into use since the start.");
    this.removedSegments = metrics.counter(
      "popmesh_broker_log_removed_segments_total",
      "Segments that retention took out of the log.",
    );
    this.zeroedBytes = metrics.counter(
      "popmesh_broker_log_zeroed_bytes_total",
      "Zeros written ahead into new segments; none where a removed segment's file is used again.",
    );
    this.recycledSegments = metrics.counter(
      "popmesh_broker_log_recycled_segments_total",
      "Segments made of the file of a removed one.",
    );
    this.damagedReads = metrics.counter("popmesh_broker_log_damaged_reads_total", "Reads that met damaged bytes.");
    this.readAheadBytes = metrics.counter(
      "popmesh_broker_log_read_ahead_bytes_total",
      "Bytes of old parts of the log read off the event loop, for reads of a backlog.",
    );
    this.syncSeconds = metrics.histogram("popmesh_broker_log_sync_seconds", "Duration of the log's fdatasync calls.");
  }
}
