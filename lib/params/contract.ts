import type { JsonObject, JsonValue } from '../model/json.js';

/** What a job type demands of its params, and what its handler is given. */
export interface ParamsContract<T = unknown> {
  /** JSON Schema, valid as draft-07 and as 2020-12; `{}` without a class. */
  readonly schema: JsonObject;
  /** What the class fills in; `{}` without a class. */
  readonly defaults: JsonObject;
  /**
   * The JSON to store: the input, already checked by `toJsonText`, over the defaults of the class
   * at this moment. Synchronous without a class.
   *
   * @throws JobsError `invalid_params` with `errors: [{ field: 'params.items.0.url', message }]`
   */
  accept(input: JsonValue | undefined): JsonValue | Promise<JsonValue>;
  /** What handlers get: a new instance of the class, or the JSON itself. */
  instantiate(stored: JsonValue): T;
}
