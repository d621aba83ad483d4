import { expect, it } from 'vitest';
import { buildSample, start, untilTestEnds } from './support/sample.js';

it('01-hello prints its result and exits', async () => {
  const hello = untilTestEnds(start(buildSample('01-hello')));
  expect(await hello.ended(), hello.lines.join('\n')).toBe(0);
  expect(hello.lines).toEqual([expect.stringMatching(/^Hello, world! I am job [0-9a-f-]{36}\.$/)]);
}, 60_000);

it('02-progress shows both handlers to both readers, and exits', async () => {
  const progress = untilTestEnds(start(buildSample('02-progress')));
  expect(await progress.ended(), progress.lines.join('\n')).toBe(0);
  const shown = progress.lines.join('\n');
  expect(shown).toMatch(/^progress\$ {2}default:scan {2}0\.5/m);
  expect(shown).toMatch(/^progress\$ {2}default:print {2}0\.5 {2}page 5/m);
  expect(shown).toMatch(/^SSE .*event: progress.*"message":"page \d+"/m);
  expect(shown.match(/^SSE .*event: status.*"status":"completed"/gm)).toHaveLength(2);
}, 60_000);
