import { Cron } from 'croner';
import { describe, expect, it } from 'vitest';
import { cronTimes } from '../../lib/model/schedule-cron.js';
import { lastSlots, nextSlot, type Timetable } from '../../lib/model/schedule-timetable.js';
import { zoneOf } from '../../lib/model/schedule-zone.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

const cron = (text: string, timeZone: string): Timetable => ({
  kind: 'cron',
  cron: text,
  timeZone,
  startAtMs: null,
  endAtMs: null,
});

/** Slots from an instant on, as ISO texts without seconds. */
function slots(timetable: Timetable, from: string, count: number): string[] {
  const found: string[] = [];
  let at = Date.parse(from);
  for (let index = 0; index < count; index += 1) {
    const slot = nextSlot(timetable, at);
    if (slot === undefined) {
      break;
    }
    found.push(new Date(slot).toISOString().slice(0, 16));
    at = slot;
  }
  return found;
}

/** What the wall clock shows, minute by minute: asked of Intl, without any arithmetic of offsets. */
function shown(timeZone: string): (instantMs: number) => number {
  const format = new Intl.DateTimeFormat('sv-SE', {
    timeZone,
    dateStyle: 'short',
    timeStyle: 'medium',
  });
  return (instantMs) => Date.parse(`${format.format(instantMs).replace(' ', 'T')}Z`);
}

/** Every slot of some days, by looking at every minute of every wall clock's day. */
function expectedSlots(
  timeZone: string,
  from: number,
  to: number,
  matches: (wall: Date) => boolean,
): number[] {
  const wallAt = shown(timeZone);
  const first = new Map<number, number>();
  let highest = -Infinity;
  const passes: [wall: number, at: number][] = [];
  for (let at = from - 4 * HOUR; at <= to; at += MINUTE) {
    const wall = wallAt(at);
    if (wall > highest) {
      // What lies between was never shown: it is due now, when the clock has passed it.
      for (
        let missing = highest + MINUTE;
        Number.isFinite(highest) && missing < wall;
        missing += MINUTE
      ) {
        passes.push([missing, at]);
      }
      highest = wall;
    }
    if (!first.has(wall)) {
      first.set(wall, at);
      passes.push([wall, at]);
    }
  }
  const due = passes.filter(([wall]) => matches(new Date(wall))).map(([, at]) => at);
  return [...new Set(due)].filter((at) => at > from && at <= to).sort((a, b) => a - b);
}

const CHANGES: readonly (readonly [zone: string, around: string])[] = [
  ['Europe/Berlin', '2026-03-29T01:00Z'],
  ['Europe/Berlin', '2026-10-25T01:00Z'],
  ['America/New_York', '2026-03-08T07:00Z'],
  ['America/New_York', '2026-11-01T06:00Z'],
  ['Australia/Lord_Howe', '2026-10-03T15:30Z'],
  ['Australia/Lord_Howe', '2026-04-04T15:00Z'],
  ['Africa/Cairo', '2026-04-23T22:00Z'],
  ['Africa/Cairo', '2026-10-29T21:00Z'],
  ['America/St_Johns', '2026-03-08T05:30Z'],
  ['America/St_Johns', '2026-11-01T04:30Z'],
  ['America/Santiago', '2026-09-06T04:00Z'],
  ['America/Santiago', '2026-04-05T03:00Z'],
];

const PATTERNS: readonly (readonly [text: string, matches: (wall: Date) => boolean])[] = [
  ['* * * * *', () => true],
  ['*/15 * * * *', (wall) => wall.getUTCMinutes() % 15 === 0],
  ['0 * * * *', (wall) => wall.getUTCMinutes() === 0],
  ['30 0 * * *', (wall) => wall.getUTCHours() === 0 && wall.getUTCMinutes() === 30],
  ['45 1 * * *', (wall) => wall.getUTCHours() === 1 && wall.getUTCMinutes() === 45],
  ['15 2 * * *', (wall) => wall.getUTCHours() === 2 && wall.getUTCMinutes() === 15],
  ['*/20 2 * * *', (wall) => wall.getUTCHours() === 2 && wall.getUTCMinutes() % 20 === 0],
  ['30 23 * * *', (wall) => wall.getUTCHours() === 23 && wall.getUTCMinutes() === 30],
  [
    '0 3 * * 0',
    (wall) => wall.getUTCDay() === 0 && wall.getUTCHours() === 3 && wall.getUTCMinutes() === 0,
  ],
];

describe('around a change of the clock', () => {
  for (const [zone, around] of CHANGES) {
    const change = Date.parse(around);
    const [from, to] = [change - 13 * HOUR, change + 13 * HOUR];
    it(`the wall clock of ${zone} does change at ${around}`, () => {
      const wallAt = shown(zone);
      expect(wallAt(change) - wallAt(change - MINUTE)).not.toBe(MINUTE);
    });

    for (const [text, matches] of PATTERNS) {
      it(`"${text}" in ${zone} at ${around} is due at each time once, and for a gap at its end`, () => {
        const timetable = cron(text, zone);
        const expected = expectedSlots(zone, from, to, matches);
        const found: number[] = [];
        for (let at = nextSlot(timetable, from); at !== undefined && at <= to;) {
          found.push(at);
          at = nextSlot(timetable, at);
        }
        expect(found).toEqual(expected);
        expect(lastSlots(timetable, from, to, 1_000_000)).toEqual(expected);
      });

      it(`"${text}" in ${zone} at ${around} has the same next slot from wherever one asks`, () => {
        const timetable = cron(text, zone);
        const expected = expectedSlots(zone, from, to, matches);
        for (let at = from; at < to - 3 * HOUR; at += 7 * MINUTE + 1) {
          const next = expected.find((slot) => slot > at);
          const slot = nextSlot(timetable, at);
          expect(slot !== undefined && slot <= to ? slot : undefined).toBe(next);
          const before = expected.findLast((each) => each <= at);
          expect(lastSlots(timetable, from, at, 1)[0]).toBe(before);
        }
      });
    }
  }

  it('a slot in the gap runs once at its end, a repeated one once', () => {
    expect(slots(cron('30 2 * * *', 'Europe/Berlin'), '2026-03-28T12:00Z', 2)).toEqual([
      '2026-03-29T01:00',
      '2026-03-30T00:30',
    ]);
    expect(slots(cron('30 2 * * *', 'Europe/Berlin'), '2026-10-24T12:00Z', 2)).toEqual([
      '2026-10-25T00:30',
      '2026-10-26T01:30',
    ]);
    expect(slots(cron('15 2 * * *', 'Australia/Lord_Howe'), '2026-10-03T00:00Z', 2)).toEqual([
      '2026-10-03T15:30',
      '2026-10-04T15:15',
    ]);
    expect(slots(cron('45 1 * * *', 'Australia/Lord_Howe'), '2026-04-04T00:00Z', 2)).toEqual([
      '2026-04-04T14:45',
      '2026-04-05T15:15',
    ]);
    expect(slots(cron('30 0 * * *', 'Africa/Cairo'), '2026-04-23T00:00Z', 2)).toEqual([
      '2026-04-23T22:00',
      '2026-04-24T21:30',
    ]);
  });
});

describe('a timetable', () => {
  it('takes seconds as a first of six fields', () => {
    const found = slots(cron('*/20 * * * * *', 'UTC'), '2026-06-01T00:00Z', 3);
    expect(found).toEqual(['2026-06-01T00:00', '2026-06-01T00:00', '2026-06-01T00:01']);
  });

  it('knows offsets as zones', () => {
    expect(slots(cron('0 0 * * *', '+05:30'), '2026-06-01T00:00Z', 1)).toEqual([
      '2026-06-01T18:30',
    ]);
    expect(slots(cron('0 0 * * *', '-03:00'), '2026-06-01T00:00Z', 1)).toEqual([
      '2026-06-01T03:00',
    ]);
  });

  it('comes on either of day and weekday, as cron has it', () => {
    const found = slots(cron('0 0 13 * 5', 'UTC'), '2026-06-01T00:00Z', 4);
    expect(found.map((slot) => slot.slice(8, 10))).toEqual(['05', '12', '13', '19']);
  });

  it('waits for leap years, also across 2100', () => {
    expect(slots(cron('0 0 29 2 *', 'UTC'), '2096-03-01T00:00Z', 1)).toEqual(['2104-02-29T00:00']);
  });

  it('begins and ends when it is told, both included', () => {
    const bounded = {
      ...cron('0 * * * *', 'UTC'),
      startAtMs: Date.parse('2026-06-01T10:00Z'),
      endAtMs: Date.parse('2026-06-01T12:00Z'),
    };
    expect(slots(bounded, '2026-01-01T00:00Z', 9)).toEqual([
      '2026-06-01T10:00',
      '2026-06-01T11:00',
      '2026-06-01T12:00',
    ]);
  });

  it('keeps a fixed rate, whenever one asks', () => {
    const firstMs = Date.parse('2026-06-01T00:00:07Z');
    const rate: Timetable = {
      kind: 'every',
      everyMs: 90_000,
      firstMs,
      startAtMs: null,
      endAtMs: null,
    };
    expect(nextSlot(rate, 0)).toBe(firstMs);
    expect(nextSlot(rate, firstMs)).toBe(firstMs + 90_000);
    expect(nextSlot(rate, firstMs + 90_001)).toBe(firstMs + 180_000);
    expect(lastSlots(rate, firstMs, firstMs + 300_000, 2)).toEqual([
      firstMs + 180_000,
      firstMs + 270_000,
    ]);
  });

  it('counts years of missed seconds without walking through them', () => {
    const timetable = cron('* * * * * *', 'Europe/Berlin');
    const now = Date.parse('2026-06-01T00:00Z');
    const started = performance.now();
    expect(lastSlots(timetable, 0, now, 100)).toHaveLength(100);
    expect(performance.now() - started).toBeLessThan(2000);
  });
});

/** Any day's times, with all that is known of days. */
const DAYS = [
  '* * *',
  '13 * 5',
  '13 * +5',
  '* * +5',
  '29 2 *',
  '29 2 +1',
  '30,31 * *',
  'L * *',
  'L * +5',
  'LW * *',
  '1W,31W * *',
  '15W,L 2,4 *',
  '1W * 1',
  '* * 1#1',
  '* * 5L',
  '* 2 0#5',
  '1-7 * +1#1',
  '22-28 2 +0L',
  '23 * +0L',
  '8-14/2 1-12/5 2-4',
  '? * 7',
  '*/9 */5 MON-FRI',
  '31 * sun,3#2,sat#L',
];

const NEVER = [
  '0 0 30 2 *',
  '0 0 31 4,6,9,11 *',
  '0 0 30 2 +1',
  '0 0 31W 2 *',
  '0 0 1-7 * +1#2',
  '0 0 30 * +1#1',
  '0 0 1-20 * +0L,1L,2L,3L,4L,5L,6L',
  '* * * 29 2 +1#4',
  '0 0 29 2 +1#1,1#2,1#3,1#4',
  `0 0 1,${Array.from({ length: 31 }, (_, at) => `${at + 1}W`).join()} * +0#5,0L,6#2`,
];

describe('the days of a cron text', () => {
  const starts = ['2026-01-01', '2027-12-31', '2096-02-29', '2100-02-28'].map((day) =>
    Date.parse(`${day}T11:30:30.500Z`),
  );

  for (const days of DAYS) {
    it(`"${days}" are those that its parser finds by looking at one after the other`, () => {
      for (const text of [`7,30 */11 ${days}`, `*/25 30 11-12 ${days}`]) {
        const theirs = new Cron(text, {
          utcOffset: 0,
          paused: true,
          mode: '5-or-6-parts',
          sloppyRanges: true,
        });
        const ours = cronTimes(text);
        for (const start of starts) {
          let at: number | undefined = start;
          for (let step = 0; step < 9 && at !== undefined; step += 1) {
            const expected: number | undefined = theirs.nextRun(new Date(at))?.getTime();
            at = ours.next(at);
            expect([text, start, at]).toEqual([text, start, expected]);
          }
          at = start;
          for (let step = 0; step < 9 && at !== undefined; step += 1) {
            // Theirs is earlier than the time it is given, ours may be that time itself.
            const expected: number | undefined = theirs
              .previousRuns(1, new Date(Math.floor(at / 1000) * 1000 + 1000))[0]
              ?.getTime();
            at = ours.upTo(at);
            expect([text, start, at]).toEqual([text, start, expected]);
            at = at === undefined ? undefined : at - 1;
          }
        }
      }
    });
  }

  it('that come once in forty years are found, forwards and backwards', () => {
    const times = cronTimes('0 0 29 2 +1');
    expect(times.next(Date.UTC(2072, 1, 29))).toBe(Date.UTC(2112, 1, 29));
    expect(times.upTo(Date.UTC(2112, 1, 28))).toBe(Date.UTC(2072, 1, 29));
  });

  for (const text of NEVER) {
    it(`"${text.slice(0, 40)}" are none, which is said`, () => {
      expect(() => cronTimes(text)).toThrow(/never be due.*(that weekday|has)/);
    });
  }

  it.each([
    ['@yearly', '0 0 1 1 *'],
    ['@annually', '0 0 1 1 *'],
    ['@monthly', '0 0 1 * *'],
    ['@weekly', '0 0 * * 0'],
    ['@daily', '0 0 * * *'],
    ['@midnight', '0 0 * * *'],
    ['@hourly', '0 * * * *'],
    ['@minutely', '* * * * *'],
    ['@secondly', '* * * * * *'],
    ['@weekdays', '0 0 * * 1-5'],
    ['@weekends', '0 0 * * 0,6'],
  ])('%s means "%s"', (name, text) => {
    let at: number | undefined = Date.UTC(2026, 0, 1) - 500;
    for (let step = 0; step < 20; step += 1) {
      const expected: number | undefined = cronTimes(text).next(at ?? 0);
      at = cronTimes(` ${name.toUpperCase()} `).next(at ?? 0);
      expect(at).toBe(expected);
    }
  });
});

describe('cron text', () => {
  const refused: readonly (readonly [text: string, says: RegExp])[] = [
    ['', /five fields/],
    ['* * * *', /has 4 fields.*five fields/],
    ['@reboot', /has 1 field:/],
    ['0 0 32 * *', /day: 32/],
    ['0 0 * 0 *', /month: 0/],
    ['* * * * * * *', /five fields/],
    ['61 * * * *', /61/],
    ['*/0 * * * *', /five fields/],
    ['a * * * *', /five fields/],
    ...NEVER.map((text) => [text, /never/] as const),
    [`${'1,'.repeat(128)}1 * * * *`, /256.*ranges/],
  ];
  for (const [text, says] of refused) {
    it(`"${text.slice(0, 40)}" is refused, and what to write instead is said`, () => {
      expect(() => cronTimes(text)).toThrow(says);
      expect(() => cronTimes(text)).toThrow(
        expect.objectContaining({ code: 'invalid_request' }) as Error,
      );
    });
  }

  it('is read within ten milliseconds, whatever it is', () => {
    const texts = [
      ...refused.map(([text]) => text),
      `${'1-59/1,'.repeat(32)}1 * * * *`,
      '*/1,*/1,*/1,*/1,*/1 */1,*/1 */1,*/1 */1 */1,*/1',
      '0 0 29 2 +1#5',
      // Once in forty years, with as much to look at on each other day as fits.
      '0 0 23 * +0L,1#1,2#1,3#1,4#1,5#1,6#1',
      `0 0 23,${Array.from({ length: 31 }, (_, at) => `${at + 1}W`).join()} * +0L`,
      `59 59 23 29 2 +${'1#5,'.repeat(50)}1#5`,
      `* * * * ${'MON-SUN,'.repeat(20)}1`,
      ' '.repeat(256),
      '*'.repeat(256),
      '1-'.repeat(128),
      '0'.repeat(240) + ' * * * *',
    ];
    const took = texts.map((text) => {
      // The best of some: the machine may be busy with something else.
      return Math.min(
        ...[1, 2, 3, 4, 5].map((round) => {
          const started = performance.now();
          try {
            const times = cronTimes(text + ' '.repeat(text.length > 250 ? 0 : round));
            times.next(Date.UTC(2073, 0, 1));
            times.upTo(Date.UTC(2112, 0, 1));
          } catch {
            // Refused.
          }
          return performance.now() - started;
        }),
      );
    });
    expect(Math.max(...took)).toBeLessThan(10);
  });
});

describe('a zone', () => {
  for (const name of [
    'Mars/Olympus',
    '',
    '+25:00',
    '2',
    'Europe/Berlin; DROP',
    'x'.repeat(300),
    7,
  ]) {
    it(`${JSON.stringify(name).slice(0, 30)} is unknown, and what to write is said`, () => {
      expect(() => zoneOf(name)).toThrow(/Europe\/Berlin/);
    });
  }
});
