import type { Class } from '../model/job-type.js';
import type { JsonValue } from '../model/json.js';
import type { ParamsContract } from './contract.js';

/** The contract of a type without a params class: any JSON. */
export const anyParams: ParamsContract = Object.freeze({
  schema: Object.freeze({}),
  defaults: Object.freeze({}),
  accept: (input: JsonValue | undefined) => (input === undefined ? {} : input),
  instantiate: (stored: JsonValue) => stored,
});

/**
 * The contract of a job type. class-validator and ajv are loaded when the first type with a class
 * is registered: an application without one keeps the 14 MB that they take
 * (and loads ajv alone for its routes, if it has any).
 *
 * @throws JobsError `invalid_options` when the class cannot describe params
 */
export async function paramsContract(typeId: string, paramsClass?: Class): Promise<ParamsContract> {
  if (paramsClass === undefined) {
    return anyParams;
  }
  const { classParams } = await import('./class-params.js');
  return classParams(typeId, paramsClass);
}
