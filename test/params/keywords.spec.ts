import 'reflect-metadata';
import { Ajv } from 'ajv';
import { fullFormats } from 'ajv-formats/dist/formats.js';
import * as cv from 'class-validator';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { classParams } from '../../lib/params/class-params.js';
import { keywordsOf } from '../../lib/params/keywords.js';
import { schemaCheck } from '../../lib/params/schema-check.js';

enum Level {
  low,
  high,
}
const Mixed = { off: 'off', one: 1, two: 2 };

/** Every decorator that looks at a value, with the arguments people give. */
const decorators: Readonly<Record<string, readonly PropertyDecorator[]>> = {
  common: [
    cv.IsDefined(),
    cv.Equals(5),
    cv.Equals('x'),
    cv.Equals(null),
    cv.NotEquals('x'),
    cv.NotEquals(1),
    cv.IsEmpty(),
    cv.IsNotEmpty(),
    cv.IsIn(['a', 1, true, null]),
    cv.IsIn(['a', 'b']),
    cv.IsIn([]),
    cv.IsNotIn(['a', 1]),
    cv.IsNotIn([]),
    cv.IsEnum(Level),
    cv.IsEnum(Mixed),
    cv.IsEnum(['x', 'y']),
  ],
  types: [
    cv.IsBoolean(),
    cv.IsString(),
    cv.IsNumber(),
    cv.IsNumber({ maxDecimalPlaces: 2 }),
    cv.IsInt(),
    cv.IsArray(),
    cv.IsObject(),
    cv.IsNotEmptyObject(),
    cv.IsNotEmptyObject({ nullable: false }),
  ],
  numbers: [
    cv.Min(1),
    cv.Max(1),
    cv.Min(-0.5),
    cv.Max(Infinity),
    cv.IsPositive(),
    cv.IsNegative(),
    cv.IsDivisibleBy(3),
    cv.IsDivisibleBy(0.5),
    cv.IsDivisibleBy(-2),
    cv.IsLatitude(),
    cv.IsLongitude(),
  ],
  arrays: [
    cv.ArrayNotEmpty(),
    cv.ArrayMinSize(2),
    cv.ArrayMaxSize(2),
    cv.ArrayUnique(),
    cv.ArrayContains(['a']),
    cv.ArrayContains([]),
    cv.ArrayContains([{}]),
    cv.ArrayNotContains(['a', 1]),
    cv.ArrayNotContains([]),
  ],
  lengths: [
    cv.MinLength(2),
    cv.MaxLength(2),
    cv.Length(1, 3),
    cv.Length(2),
    cv.IsByteLength(1, 3),
    cv.IsNotEmpty(),
  ],
  patterns: [
    cv.Contains('a.b('),
    cv.Contains('a-b'),
    cv.NotContains('[x'),
    cv.Matches(/^abc$/i),
    cv.Matches(/^[a-z]+$/),
    cv.Matches(new RegExp(String.raw`^\d+\-\d+$`)),
    cv.Matches(/^\p{L}+$/u),
    cv.Matches(/a.c/s),
    cv.Matches('^x', 'i'),
    cv.Matches('^x'),
    cv.Matches(/a/g),
  ],
  words: [
    cv.IsAlpha(),
    cv.IsAlpha('de-DE'),
    cv.IsAlphanumeric(),
    cv.IsAlphanumeric('fr-FR'),
    cv.IsAscii(),
    cv.IsBase32(),
    cv.IsBase58(),
    cv.IsBase64(),
    cv.IsBooleanString(),
    cv.IsDecimal(),
    cv.IsFullWidth(),
    cv.IsHalfWidth(),
    cv.IsVariableWidth(),
    cv.IsHexColor(),
    cv.IsHexadecimal(),
    cv.IsJSON(),
    cv.IsLowercase(),
    cv.IsUppercase(),
    cv.IsMultibyte(),
    cv.IsNumberString(),
    cv.IsOctal(),
    cv.IsSurrogatePair(),
    cv.IsStrongPassword(),
    cv.IsLocale(),
    cv.IsTimeZone(),
    cv.IsMilitaryTime(),
  ],
  addresses: [
    cv.IsEmail(),
    cv.IsEmail({ allow_display_name: true }),
    cv.IsUrl(),
    cv.IsUrl({ require_tld: false }),
    cv.IsUrl({ require_protocol: true, require_tld: false }),
    cv.IsIP(),
    cv.IsIP('4'),
    cv.IsIP(6),
    cv.IsFQDN(),
    cv.IsPort(),
    cv.IsMACAddress(),
    cv.IsMagnetURI(),
    cv.IsDataURI(),
    cv.IsMimeType(),
    cv.IsJWT(),
    cv.IsSemVer(),
    cv.IsUUID(),
    cv.IsUUID('4'),
    cv.IsUUID('loose'),
    cv.IsMongoId(),
    cv.IsHash('md5'),
  ],
  moments: [cv.IsDateString(), cv.IsDateString({ strict: true }), cv.IsISO8601(), cv.IsRFC3339()],
  world: [
    cv.IsBIC(),
    cv.IsBtcAddress(),
    cv.IsCreditCard(),
    cv.IsCurrency(),
    cv.IsEAN(),
    cv.IsEthereumAddress(),
    cv.IsFirebasePushId(),
    cv.IsHSL(),
    cv.IsIBAN(),
    cv.IsISBN(),
    cv.IsISIN(),
    cv.IsISO31661Alpha2(),
    cv.IsISO31661Alpha3(),
    cv.IsISO4217CurrencyCode(),
    cv.IsISRC(),
    cv.IsISSN(),
    cv.IsIdentityCard('ES'),
    cv.IsLatLong(),
    cv.IsMobilePhone(),
    cv.IsPassportNumber('DE'),
    cv.IsPhoneNumber('DE'),
    cv.IsPostalCode('DE'),
    cv.IsRgbColor(),
    cv.IsTaxId('de-DE'),
  ],
};

const texts =
  `a b ab abc ABC aBc x X äöü 日本 ｆｕｌｌ 😀 ❤️ 0 1 5 12 1.5 -3 +7 0x1F 0o17 ffff fff #fff #ffff #ffffffff
  true false 1e5 10-20 a.b( za.b(z a-b [x 2026 2026-01 20260102 2026-W01 2026-W01-1 2026-002 2026-01-02
  2026-01-02T03:04 2026-01-02T03:04:05Z 2026-01-02t03:04:05z 2026-01-02T03:04:05.678+09:00 2026-02-30T00:00:00Z
  2026-01-02T23:59:60Z 13:45 user@example.com jürgen@müller.example a@b.co http://localhost:3000/a?b=c#d
  http://127.0.0.1/x https://例え.テスト/ä ftp://u:p@example.com example.com sub.example.com http://[::1]:80/
  ::1 fe80::1%eth0 ::ffff:1.2.3.4 127.0.0.1 8080 01:23:45:67:89:ab data:text/plain,x text/plain
  eyJhbGciOiJIUzI1NiJ9.e30.abc 1.2.3 6ba7b810-9dad-11d1-80b4-00c04fd430c8 00000000-0000-0000-0000-000000000000
  f47ac10b-58cc-4372-a567-0e02b2c3d479 0x34567890123456789012ab 507f1f77bcf86cd799439011 d41d8cd98f00b204e9800998ecf8427e
  DEUTDEFF 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa 4111111111111111 $1,000.00 4006381333931 DE
  0x52908400098527886E0F7030069857D2E4169EE7 hsl(1,2%,3%) DE89370400440532013000 9783161484100 US0378331005
  DEU EUR 1.1,2.2 +4915112345678 USAT21700001 0378-5955 C01X00T47 10115 rgb(1,2,3) Passw0rd!x en-US Europe/Berlin {"a":1} []`
    .split(/\s+/)
    .concat('', ' ', 'a b', '2026-01-02 03:04:05Z', 'Max <m@example.com>', 'x'.repeat(300));

const values: unknown[] = [
  ...texts,
  null,
  true,
  false,
  0,
  1,
  -1,
  2,
  3,
  6,
  1.5,
  0.123,
  -2,
  1e21,
  90.5,
  [],
  ['a'],
  ['a', 'b'],
  ['b', 'b'],
  [1],
  [1, 2, 3],
  ['a', {}],
  {},
  { a: 1 },
  { a: null },
  [null],
  [[]],
];

function classOf(...all: readonly PropertyDecorator[]) {
  class Sample {}
  for (const decorate of all) {
    decorate(Sample.prototype, 'field');
  }
  return Sample;
}

describe.each(Object.entries(decorators))('what is published of %s', (_, all) => {
  it('refuses nothing that class-validator takes', () => {
    for (const [at, decorate] of all.entries()) {
      const Sample = classOf(decorate);
      const { schema } = classParams('t:t', Sample);
      const check = schemaCheck(schema);
      for (const field of values) {
        const isTaken = cv.validateSync(Object.assign(new Sample(), { field })).length === 0;
        const isName = isTaken && typeof field === 'string' && field in Level;
        const problems = check({ field } as never, 'params');
        if (isTaken && !isName && problems.length > 0) {
          expect({ at, schema, field, problems }).toBe('accepted');
        }
      }
    }
  });

  it('is a schema that strict readers of draft-07 compile', () => {
    for (const decorate of all) {
      const { schema } = classParams('t:t', classOf(decorate, cv.IsOptional()));
      const complaints: unknown[] = [];
      const logger = { log() {}, warn: (text: unknown) => complaints.push(text), error() {} };
      const ajv = new Ajv({ strict: true, formats: fullFormats, logger });
      expect(() => ajv.compile(schema)).not.toThrow();
    }
  });

  it('demands a value exactly where class-validator does', () => {
    for (const decorate of all) {
      const Sample = classOf(decorate);
      const isRefused = cv.validateSync(new Sample()).length > 0;
      const { schema } = classParams('t:t', Sample);
      expect({ schema, required: schema['required'] ?? [] }).toEqual({
        schema,
        required: isRefused ? ['field'] : [],
      });
    }
  });
});

describe('what is published', () => {
  it('knows every decorator that class-validator names', () => {
    const names = Object.entries(cv)
      .filter(([key, value]) => /^[A-Z][A-Z0-9_]+$/.test(key) && typeof value === 'string')
      .map(([, value]) => `${value as string}`);
    expect(names.length).toBeGreaterThan(90);
    const unknown = names.filter((name) => keywordsOf(name, [[], []]) === undefined);
    expect(unknown).toEqual(['isOptional']);
  });

  it('takes addresses of every kind that the decorator takes', () => {
    const address = { schema: 0, email: cv.isEmail, url: isFullUrl, ip6: isIp6, uuid: isUuid };
    const check = {
      email: schemaCheck(classParams('t:t', classOf(cv.IsEmail())).schema),
      url: schemaCheck(
        classParams('t:t', classOf(cv.IsUrl({ require_protocol: true, require_tld: false })))
          .schema,
      ),
      ip6: schemaCheck(classParams('t:t', classOf(cv.IsIP('6'))).schema),
      uuid: schemaCheck(classParams('t:t', classOf(cv.IsUUID())).schema),
    };
    const url = fc.webUrl({
      withFragments: true,
      withQueryParameters: true,
      authoritySettings: { withPort: true, withUserInfo: true, withIPv4: true, withIPv6: true },
    });
    const pairs = fc.oneof(
      fc.tuple(fc.constant('email' as const), fc.emailAddress()),
      fc.tuple(fc.constant('url' as const), url),
      fc.tuple(fc.constant('ip6' as const), fc.ipV6()),
      fc.tuple(fc.constant('uuid' as const), fc.uuid()),
    );
    fc.assert(
      fc.property(pairs, ([kind, field]) => {
        fc.pre(address[kind](field));
        expect(check[kind]({ field }, 'params')).toEqual([]);
      }),
      { numRuns: 2000 },
    );
  });

  it('holds the keywords that readers look for', () => {
    const field = (...all: PropertyDecorator[]) => {
      const { properties } = classParams('t:t', classOf(...all)).schema as {
        properties: { field: unknown };
      };
      return properties.field;
    };
    expect(field(cv.IsInt(), cv.Min(1), cv.Max(9))).toEqual({
      type: 'integer',
      minimum: 1,
      maximum: 9,
    });
    expect(field(cv.Min(1), cv.IsInt())).toEqual({ type: 'integer', minimum: 1 });
    expect(field(cv.Min(1), cv.Min(3), cv.Max(9), cv.Max(5))).toEqual({
      type: 'number',
      minimum: 3,
      maximum: 5,
    });
    expect(field(cv.IsNotEmpty(), cv.IsString())).toEqual({ type: 'string', minLength: 1 });
    expect(field(cv.IsNotEmpty(), cv.IsInt())).toEqual({ type: 'integer' });
    expect(field(cv.IsDefined(), cv.MaxLength(3))).toEqual({ type: 'string', maxLength: 3 });
    expect(field(cv.IsEnum(Level))).toEqual({ type: 'number', enum: [0, 1] });
    expect(field(cv.IsEnum(Mixed))).toEqual({ enum: ['off', 1, 2] });
    expect(field(cv.IsIn(['a', 'b']), cv.IsOptional())).toEqual({
      type: ['string', 'null'],
      enum: ['a', 'b', null],
    });
    expect(field(cv.IsIn(['a', 'b']), cv.IsIn(['b', 'c']))).toEqual({
      type: 'string',
      enum: ['b'],
    });
    expect(field(cv.IsString({ each: true }), cv.ArrayMaxSize(3))).toEqual({
      type: 'array',
      items: { type: 'string' },
      maxItems: 3,
    });
    expect(field(cv.IsNotIn(['b']), cv.NotEquals('a'))).toEqual({
      not: { enum: ['b'] },
      allOf: [{ not: { const: 'a' } }],
    });
    expect(field(cv.IsInt(), cv.IsString())).toEqual({
      type: 'integer',
      allOf: [{ type: 'string' }],
    });
    expect(field(cv.IsEmail())).toEqual({ type: 'string', format: 'email' });
    expect(field(cv.IsUUID())).toEqual({ type: 'string', format: 'uuid' });
    expect(field(cv.Matches(/^[a-z]+$/))).toEqual({ type: 'string', pattern: '^[a-z]+$' });
    expect(field(cv.Matches(/^[a-z]+$/i))).toEqual({ type: 'string' });
    expect(
      field(
        cv.IsString(),
        cv.ValidateIf(() => true),
      ),
    ).toEqual({});
    expect(field(cv.Allow())).toEqual({});
  });
});

const isFullUrl = (text: string) => cv.isURL(text, { require_protocol: true, require_tld: false });
const isIp6 = (text: string) => cv.isIP(text, '6');
const isUuid = (text: string) => cv.isUUID(text);
