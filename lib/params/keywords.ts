import type { JsonObject, JsonValue } from '../model/json.js';

type Keywords = (constraints: readonly unknown[]) => JsonObject;

/**
 * The JSON Schema keywords of a class-validator decorator, undefined for one of the host's own.
 *
 * What is published here is enforced, so each entry says no more than the decorator does: it may
 * accept what class-validator then refuses, never the reverse. Two are narrower on purpose: dates
 * are ISO texts, never numbers, and an enum takes its values, not the names of numeric members.
 */
export function keywordsOf(name: string, constraints: readonly unknown[]): JsonObject | undefined {
  if (STRINGS.has(name)) {
    return { type: 'string' };
  }
  return Object.hasOwn(KEYWORDS, name) ? KEYWORDS[name]?.(constraints) : undefined;
}

const DATE: JsonObject = {
  type: 'string',
  anyOf: [{ format: 'date' }, { format: 'date-time' }],
};

const NUMBER_OR_TEXT: JsonObject = { anyOf: [{ type: 'number' }, { type: 'string' }] };

const KEYWORDS: Readonly<Record<string, Keywords>> = {
  isDefined: () => ({ not: { type: 'null' } }),
  isEmpty: () => ({ enum: ['', null] }),
  isNotEmpty: () => ({ not: { enum: ['', null] } }),
  equals: ([value]) => constant(value),
  notEquals: ([value]) => negated(constant(value)),
  isIn: ([values]) => typedEnumOf(values),
  isNotIn: ([values]) => negated(enumOf(values)),
  isEnum: ([values]) => typedEnumOf(enumValues(values)),
  isInstance: () => ({}),

  isBoolean: () => ({ type: 'boolean' }),
  isString: () => ({ type: 'string' }),
  isObject: () => ({ type: 'object' }),
  isNotEmptyObject: () => ({ type: 'object', minProperties: 1 }),
  isDate: () => DATE,
  minDate: () => DATE,
  maxDate: () => DATE,

  isNumber: () => ({ type: 'number' }),
  isInt: () => ({ type: 'integer' }),
  isPositive: () => ({ type: 'number', exclusiveMinimum: 0 }),
  isNegative: () => ({ type: 'number', exclusiveMaximum: 0 }),
  min: ([limit]) => ({ type: 'number', ...finite('minimum', limit) }),
  max: ([limit]) => ({ type: 'number', ...finite('maximum', limit) }),
  isDivisibleBy: ([step]) => ({
    type: 'number',
    ...(Number.isInteger(step) && Number(step) > 0 ? { multipleOf: Number(step) } : {}),
  }),
  isLatitude: () => NUMBER_OR_TEXT,
  isLongitude: () => NUMBER_OR_TEXT,

  isArray: () => ({ type: 'array' }),
  arrayNotEmpty: () => ({ type: 'array', minItems: 1 }),
  arrayMinSize: ([size]) => ({ type: 'array', ...finite('minItems', size) }),
  arrayMaxSize: ([size]) => ({ type: 'array', ...finite('maxItems', size) }),
  arrayUnique: () => ({ type: 'array', uniqueItems: true }),
  arrayContains: ([values]) => ({
    type: 'array',
    ...(scalars(values).length > 0
      ? { allOf: scalars(values).map((value) => ({ contains: { const: value } })) }
      : {}),
  }),
  arrayNotContains: ([values]) => ({
    type: 'array',
    ...(scalars(values).length > 0 ? { items: { not: enumOf(values) } } : {}),
  }),

  minLength: ([min]) => ({ type: 'string', ...finite('minLength', min) }),
  maxLength: ([max]) => ({ type: 'string', ...finite('maxLength', max) }),
  isLength: ([min, max]) => ({
    type: 'string',
    ...finite('minLength', min),
    ...finite('maxLength', max),
  }),
  contains: ([seed]) => ({ type: 'string', pattern: escaped(seed) }),
  notContains: ([seed]) => ({ type: 'string', not: { pattern: escaped(seed) } }),
  matches: ([pattern, flags]) => ({ type: 'string', ...patternOf(pattern, flags) }),
  isAlpha: ([locale]) => ({
    type: 'string',
    ...(locale === undefined || locale === 'en-US' ? { pattern: '^[A-Za-z]+$' } : {}),
  }),
  isAlphanumeric: ([locale]) => ({
    type: 'string',
    ...(locale === undefined || locale === 'en-US' ? { pattern: '^[0-9A-Za-z]+$' } : {}),
  }),
  isAscii: () => ({ type: 'string', pattern: '^[\\x00-\\x7F]+$' }),
  isMongoId: () => ({ type: 'string', minLength: 24, maxLength: 24 }),
  isBooleanString: () => typedEnumOf(['true', 'false', '1', '0']),
  isDateString: () => ({ type: 'string', pattern: '^[+-]?\\d{4}' }),
  isIso8601: () => ({ type: 'string', pattern: '^[+-]?\\d{4}' }),
  isRFC3339: () => ({ type: 'string', pattern: '^\\d{4}-\\d{2}-\\d{2}[ tT]\\d{2}:\\d{2}:\\d{2}' }),
  isUuid: () => ({ type: 'string', format: 'uuid' }),
  // Options may widen what counts as an address.
  isEmail: ([options]) => ({
    type: 'string',
    ...(options === undefined ? { format: 'email' } : {}),
  }),
  // Without a protocol `example.com` passes, which no format of JSON Schema describes.
  isUrl: ([options]) => ({
    type: 'string',
    ...(isObject(options) && options['require_protocol'] === true ? { format: 'uri' } : {}),
  }),
  isIp: ([version]) => ({ type: 'string', ...ipFormat(version) }),
};

/** Those that demand a text and whose rule no keyword expresses. */
const STRINGS: ReadonlySet<string> = new Set(
  `IsFirebasePushId isBIC isBase32 isBase58 isBase64 isBtcAddress isByteLength isCreditCard
  isCurrency isDataURI isDecimal isEAN isEthereumAddress isFqdn isFullWidth isHSL isHalfWidth isHash
  isHexColor isHexadecimal isIBAN isISO31661Alpha2 isISO31661Alpha3 isISO31661Numeric
  isISO4217CurrencyCode isISO6391 isISRC isISSN isIdentityCard isIsbn isIsin isJson isJwt isLatLong
  isLocale isLowercase isMacAddress isMagnetURI isMilitaryTime isMimeType isMobilePhone isMultibyte
  isNumberString isOctal isPassportNumber isPhoneNumber isPort isPostalCode isRgbColor isSemVer
  isStrongPassword isSurrogatePair isTaxId isTimeZone isUppercase isVariableWidth`.split(/\s+/),
);

type Scalar = string | number | boolean | null;

function isScalar(value: unknown): value is Scalar {
  return (
    value === null ||
    typeof value === 'string' ||
    typeof value === 'boolean' ||
    (typeof value === 'number' && Number.isFinite(value))
  );
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

function scalars(values: unknown): Scalar[] {
  return Array.isArray(values) ? values.filter(isScalar) : [];
}

/** No enum at all for an empty list, which JSON Schema does not allow: the decorator refuses alone. */
function enumOf(values: unknown): JsonObject {
  const list: JsonValue[] = [...new Set(scalars(values))];
  return list.length > 0 ? { enum: list } : {};
}

/** With the type that all its values share, for readers that make forms of a schema. */
function typedEnumOf(values: unknown): JsonObject {
  const [type, ...others] = new Set(scalars(values).map((value) => typeof value));
  const isTyped = others.length === 0 && type !== undefined && type !== 'object';
  return { ...(isTyped ? { type } : {}), ...enumOf(values) };
}

/** A numeric enum of TypeScript also maps its numbers back to names; those are no values. */
function enumValues(entity: unknown): unknown[] {
  if (!isObject(entity)) {
    return [];
  }
  const isBackReference = ([key, value]: [string, unknown]) =>
    typeof value === 'string' && entity[value] === Number(key);
  return Object.entries(entity)
    .filter((entry) => !isBackReference(entry))
    .map(([, value]) => value);
}

function constant(value: unknown): JsonObject {
  return isScalar(value) ? { const: value } : {};
}

function negated(schema: JsonObject): JsonObject {
  return Object.keys(schema).length > 0 ? { not: schema } : {};
}

function finite(keyword: string, limit: unknown): JsonObject {
  return typeof limit === 'number' && Number.isFinite(limit) ? { [keyword]: limit } : {};
}

function escaped(seed: unknown): string {
  return String(seed).replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
}

/** Nothing for a pattern whose flags change its meaning, or which is no Unicode pattern. */
function patternOf(pattern: unknown, modifiers: unknown): JsonObject {
  const { source, flags } =
    pattern instanceof RegExp ? pattern : { source: String(pattern), flags: modifiers ?? '' };
  if (typeof flags !== 'string' || !/^[gu]*$/.test(flags)) {
    return {};
  }
  try {
    return { pattern: new RegExp(source, 'u').source };
  } catch {
    return {};
  }
}

function ipFormat(version: unknown): JsonObject {
  if (version === undefined) {
    return { anyOf: [{ format: 'ipv4' }, { format: 'ipv6' }] };
  }
  return { format: version === 4 || version === '4' ? 'ipv4' : 'ipv6' };
}
