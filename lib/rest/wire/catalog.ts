import type { JsonObject } from '../../model/json.js';
import type { JobGroupInfo, JobTypeInfo } from '../../services/catalog.service.js';
import type { QueueInfo } from '../../services/queues.service.js';
import type { JobsStats } from '../../services/stats.service.js';

export function jobTypeToWire(type: JobTypeInfo) {
  return {
    type_id: type.typeId,
    group: type.group,
    name: type.name,
    description: type.description,
    version: type.version,
    timeout_sec: type.timeout / 1000,
    max_retries: type.maxRetries,
    retry_delay_sec: type.retryDelay / 1000,
    suspendable: type.suspendable,
    remote: type.remote,
    params: type.params,
    params_schema: type.paramsSchema,
  };
}

export function jobGroupToWire(group: JobGroupInfo) {
  return { name: group.name, queue_name: group.queueName, description: group.description };
}

export function queueToWire(queue: QueueInfo) {
  return {
    name: queue.name,
    capacity: queue.capacity,
    paused: queue.paused,
    waiting: queue.waiting,
    running: queue.running,
    oldest_waiting_at: queue.oldestWaitingAt?.getTime() ?? null,
  };
}

export function statsToWire(stats: JobsStats): JsonObject {
  return {
    by_status: { ...stats.byStatus },
    by_type: { ...stats.byType },
    by_queue: { ...stats.byQueue },
    oldest_waiting_at: stats.oldestWaitingAt?.getTime() ?? null,
    completed_last_minute: stats.completedLastMinute,
    workers: stats.workers,
  };
}
