import type { JobTypeEntity } from '../entities/job-type.entity.js';
import type { RegisteredType } from './handlers.js';

/** The types of this process as people and other programs find them in the database. */
export function declaredTypes(types: readonly RegisteredType[]): readonly JobTypeEntity[] {
  return types.map((type) => ({
    typeId: type.typeId,
    description: type.description,
    group: type.group,
    name: type.name,
    version: type.version,
    timeoutSec: type.timeoutSec,
    maxRetries: type.maxRetries,
    retryDelaySec: type.retryDelaySec,
    suspendable: type.suspendable ? 1 : 0,
  }));
}
