import type { Class } from '../model/job-type.js';
import { MAX_JSON_KEYS } from '../model/json-plain.js';
import { isJsonObject, type JsonObject, type JsonValue } from '../model/json.js';
import { classProblems } from './class-check.js';
import { classDefaults, type ParamsClass } from './class-defaults.js';
import { readClassShape } from './class-shape.js';
import { completeParams, hasMoreKeys } from './complete.js';
import type { ParamsContract } from './contract.js';
import { toInstance } from './instance.js';
import { invalidParams, mergedProblems } from './problems.js';
import { isLarge, schemaCheck } from './schema-check.js';
import type { Problem } from './schema-errors.js';
import { schemaOf } from './schema.js';

/**
 * The contract of a type whose params are a class-validator class. Input is judged twice: as JSON
 * by the very schema that is published, which converts nothing, and as an instance by
 * class-validator, which knows the rules that no schema can express.
 *
 * @throws JobsError `invalid_options` when the class cannot describe params
 */
export function classParams(typeId: string, paramsClass: Class): ParamsContract<object> {
  const type = paramsClass as ParamsClass;
  const shape = readClassShape(typeId, type);
  const schema = schemaOf(shape);
  const check = schemaCheck(schema);

  async function accept(input: JsonValue | undefined): Promise<JsonObject> {
    const given = input === undefined ? {} : input;
    if (!isJsonObject(given)) {
      throw invalidParams(typeId, [{ field: 'params', message: 'must be an object' }]);
    }
    const params = completeParams(shape, given);
    if (hasMoreKeys(params, MAX_JSON_KEYS)) {
      const message = `has more than ${MAX_JSON_KEYS} keys in all, defaults included`;
      throw invalidParams(typeId, [{ field: 'params', message }]);
    }
    const bySchema = check(params, 'params');
    const byClass = await judgeInstance(params, bySchema);
    if (bySchema.length > 0 || byClass.length > 0) {
      throw invalidParams(typeId, mergedProblems(bySchema, byClass));
    }
    return params;
  }

  /** For JSON that the schema refused, only to hear the words of the class: best effort. */
  async function judgeInstance(params: JsonObject, bySchema: readonly Problem[]) {
    if (bySchema.length === 0) {
      return await classProblems(makeInstance(params), 'params');
    }
    try {
      return isLarge(params) ? [] : await classProblems(toInstance(type, params), 'params');
    } catch {
      return [];
    }
  }

  /** Transformations of the host may throw on JSON that they did not expect. */
  function makeInstance(params: JsonObject): object {
    try {
      return toInstance(type, params);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      const message = `cannot be read by ${type.name}: ${reason}`;
      throw invalidParams(typeId, [{ field: 'params', message }], cause);
    }
  }

  return {
    schema,
    defaults: classDefaults(type),
    accept,
    instantiate: (stored) => toInstance(type, stored),
  };
}
