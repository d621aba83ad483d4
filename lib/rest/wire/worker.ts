import type { WorkerInfo } from '../../services/workers.service.js';
import { runToWire } from './job.js';

export function workerToWire(worker: WorkerInfo) {
  return {
    id: worker.id,
    host: worker.host,
    pid: worker.pid,
    version: worker.version,
    queues: worker.queues,
    started_at: worker.startedAt.getTime(),
    heartbeat_at: worker.heartbeatAt.getTime(),
    running: worker.running,
    runs: worker.runs.map(runToWire),
  };
}
