import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chunks } from '../../lib/store/dialects/shared/chunks.js';
import { bind, list, literal } from '../../lib/store/dialects/mysql/literals.js';
import {
  classifyMysqlError,
  isMysqlAnswerLost,
} from '../../lib/store/dialects/mysql/mysql-errors.js';

describe('a value in SQL for MySQL', () => {
  it('has nothing in it that any mode could read otherwise', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const sql = literal(text);
        const bytes = /^_utf8mb4 x'([0-9a-f]*)'$/.exec(sql)?.[1];
        if (bytes === undefined) {
          expect(sql).toMatch(/^'[\x20-\x7e]*'$/);
          expect(sql.slice(1, -1)).toBe(text);
          expect(text).not.toMatch(/['\\]/);
        } else {
          expect(Buffer.from(bytes, 'hex')).toEqual(Buffer.from(text));
        }
      }),
    );
  });

  it('is a number, NULL, or refused', () => {
    expect([literal(1.5), literal(-2), literal(null), literal(undefined)]).toEqual([
      '1.5',
      '-2',
      'NULL',
      'NULL',
    ]);
    expect(() => literal(NaN)).toThrow(RangeError);
  });

  it('takes the place of a question mark, a list that of one with a star, and what they hold stays', () => {
    expect(bind('a = ? AND b IN (?*) LIMIT ?', ['what?', '[1,"(?*)"]', 3])).toBe(
      "a = 'what?' AND b IN (1,'(?*)') LIMIT 3",
    );
    expect(list([])).toBe('(NULL)');
  });
});

describe('statements', () => {
  it('hold so many items and so many characters, and each item once, in order', () => {
    const items = [10, 600_000, 600_000, 2_000_000, 5, 5, 5];
    expect(chunks(items, 2, (item) => item)).toEqual([
      [10, 600_000],
      [600_000],
      [2_000_000],
      [5, 5],
      [5],
    ]);
    expect(chunks([], 2, () => 1)).toEqual([]);
  });
});

describe('an error of MySQL', () => {
  const failed = (errno: number, code = ''): Error =>
    Object.assign(new Error('driver'), { errno, code });

  it.each([
    ['a deadlock', failed(1213), 'busy'],
    ['a lock that was not free', failed(1205), 'held'],
    ['the same on MySQL', failed(3572), 'held'],
    ['a node that is no part of its cluster', failed(1047), 'unavailable'],
    ['a broken connection', failed(-104, 'ECONNRESET'), 'unavailable'],
    ['a lost connection', failed(0, 'PROTOCOL_CONNECTION_LOST'), 'unavailable'],
    ['wrong SQL', failed(1064, 'ER_PARSE_ERROR'), 'error'],
    ['what is no error', undefined, 'error'],
  ] as const)('%s is told from others, also inside TypeORM’s', (_name, error, kind) => {
    expect(classifyMysqlError(error)).toBe(kind);
    expect(classifyMysqlError(Object.assign(new Error(), { driverError: error }))).toBe(kind);
  });

  it('leaves open whether the work was done only when the connection broke', () => {
    expect(isMysqlAnswerLost(failed(-104, 'ECONNRESET'))).toBe(true);
    expect(isMysqlAnswerLost(failed(1053))).toBe(true);
    expect(isMysqlAnswerLost(failed(1040))).toBe(false);
    expect(isMysqlAnswerLost(failed(1213))).toBe(false);
  });
});
