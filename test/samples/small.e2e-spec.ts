import { expect, it, vi } from 'vitest';
import { buildSample, start, untilTestEnds } from './support/sample.js';

// Whole applications start here, and a killed one's lease must end.
vi.setConfig({ testTimeout: 40_000 });

const hello = buildSample('01-hello');
const progress = buildSample('02-progress');

it('01-hello prints its result and exits', async () => {
  const running = untilTestEnds(start(hello));
  expect(await running.ended(), running.lines.join('\n')).toBe(0);
  expect(running.lines).toEqual([
    expect.stringMatching(/^Hello, world! I am job [0-9a-f-]{36}\.$/),
  ]);
});

it('02-progress shows both handlers to both readers, and exits', async () => {
  const running = untilTestEnds(start(progress));
  expect(await running.ended(), running.lines.join('\n')).toBe(0);
  const shown = running.lines.join('\n');
  expect(shown).toMatch(/^progress\$ {2}default:scan {2}0\.5/m);
  expect(shown).toMatch(/^progress\$ {2}default:print {2}0\.5 {2}page 5/m);
  expect(shown).toMatch(/^SSE .*event: progress.*"message":"page \d+"/m);
  expect(shown.match(/^SSE .*event: status.*"status":"completed"/gm)).toHaveLength(2);
});
