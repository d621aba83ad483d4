import { Ajv, type ValidateFunction } from 'ajv';
import { fullFormats } from 'ajv-formats/dist/formats.js';
import { isEmail, isIP } from 'class-validator';
import { canonicalJson, type JsonObject, type JsonValue } from '../model/json.js';
import { explain, type Problem } from './schema-errors.js';

/** What is wrong with a value by a JSON Schema; nothing when it conforms. */
export type SchemaCheck = (value: JsonValue, what: string) => Problem[];

/** Above so many values a report of every mistake would cost more than it tells. */
const REPORTED_IN_FULL = 1_000;

/**
 * Compiles a schema once. A value is first judged up to its first mistake; every mistake is then
 * looked for in values of ordinary size alone, since each of 100,000 bad items would make an error.
 */
export function schemaCheck(schema: JsonObject): SchemaCheck {
  const first = compile(schema, false);
  let all: ValidateFunction | undefined;
  return (value, what) => {
    if (first(value)) {
      return [];
    }
    if (!isLarge(value)) {
      all ??= compile(schema, true);
      all(value);
      return explain(all.errors ?? [], what);
    }
    return explain(first.errors ?? [], what);
  };
}

function compile(schema: JsonObject, allErrors: boolean): ValidateFunction {
  const ajv = new Ajv({
    allErrors,
    // Another draft's keywords and formats are notes, not mistakes.
    strict: false,
    logger: false,
    // Our own writer's schemas need no proof; compiling the meta-schema takes ten times as long.
    meta: false,
    validateSchema: false,
    // A field named like a member of Object.prototype is missing until it is given.
    ownProperties: true,
    formats,
  });
  // ajv compares every item with every other: minutes for the 80,000 that fit in 256 kB.
  ajv.removeKeyword('uniqueItems');
  ajv.addKeyword({
    keyword: 'uniqueItems',
    type: 'array',
    schemaType: 'boolean',
    validate: (isUnique: boolean, items: JsonValue[]) =>
      !isUnique || new Set(items.map(canonicalJson)).size === items.length,
    error: { message: 'must not hold the same item twice' },
  });
  return ajv.compile(schema);
}

/** The formats that class-validator reads more widely are read as it does, or they would refuse. */
const formats = {
  ...fullFormats,
  email: (text: string) => isEmail(text),
  ipv6: (text: string) => isIP(text, '6'),
  uri: (text: string) => URL.canParse(text),
};

/** Whether a value holds more parts than are worth a report of every mistake. */
export function isLarge(value: JsonValue): boolean {
  let left = REPORTED_IN_FULL;
  const visit = (part: JsonValue): boolean => {
    left -= 1;
    return (
      left < 0 || (typeof part === 'object' && part !== null && Object.values(part).some(visit))
    );
  };
  return visit(value);
}
