import { describe, expect, it } from 'vitest';
import { isUuid, newId } from '../../lib/model/id.js';

const VERSION_7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

describe('an id', () => {
  it('is a UUID of version 7', () => {
    for (let n = 0; n < 5000; n += 1) {
      expect(newId()).toMatch(VERSION_7);
    }
  });

  it('sorts after all made before it, also within one millisecond and when the clock goes back', () => {
    const now = Date.now();
    const ids = [
      ...Array.from({ length: 20_000 }, () => newId(now)),
      newId(now - 5000),
      newId(now + 60_000),
      newId(now),
    ];
    expect([...ids].sort()).toEqual(ids);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('carries its time in front', () => {
    // Later than whatever other tests of this process have asked for.
    const later = Date.UTC(2090, 0, 1);
    const id = newId(later);
    expect(Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16)).toBe(later);
  });
});

describe('isUuid', () => {
  it.each([
    ['00000000-0000-0000-0000-000000000000', true],
    ['6F9619FF-8B86-D011-B42D-00C04FC964FF', true],
    [newId(), true],
    ['6f9619ff8b86d011b42d00c04fc964ff', false],
    ['6f9619ff-8b86-d011-b42d-00c04fc964f', false],
    ['6f9619ff-8b86-d011-b42d-00c04fc964ff\n', false],
    [' 6f9619ff-8b86-d011-b42d-00c04fc964ff', false],
    ['6f9619ff-8b86-d011-b42d-00c04fc964fg', false],
    ['', false],
    [undefined, false],
    [42, false],
    [{ toString: () => newId() }, false],
  ])('of %j is %j', (text, expected) => {
    expect(isUuid(text)).toBe(expected);
  });
});
