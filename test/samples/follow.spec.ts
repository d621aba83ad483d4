import { expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { follow, type Output } from '../../sample/main/src/follow.js';
import { bootJobs } from '../support/boot.js';

const HOSTILE = 'red \u001b[31m\r\n\u0085 C1 \u009b2J bell \u0007 tab\t bidi \u202e\u2066 <';

@JobType({ name: 'hostile' })
class Hostile implements JobHandler {
  execute(ctx: JobContext): string {
    ctx.log.warn(HOSTILE);
    return HOSTILE;
  }
}

it.each([true, false])('shows what would act on a terminal (%s) as escapes', async (isTTY) => {
  const app = await bootJobs({ types: [Hostile] });
  let text = '';
  const write = (more: string | Uint8Array): boolean => {
    text += String(more);
    return true;
  };
  const output: Output = { isTTY, columns: 80, write };
  const { id } = await app.jobs.enqueue(Hostile);
  await follow(app.jobs, id, output);

  const shown = text.replaceAll('\r\u001b[2K', '\n').replaceAll(/\d\d:\d\d:\d\d/g, 'time');
  const lines = shown.split('\n').filter((line) => /warn|default:/.test(line));
  expect(lines).toMatchInlineSnapshot(`
    [
      "time warn red \\u001b[31m\\r\\n\\u0085 C1 \\u009b2J bell \\u0007 tab\\t bidi \\u202e\\u2066 <",
      "default:hostile completed: "red \\u001b[31m\\r\\n\\u0085 C1 \\u009b2J bell \\u0007 tab\\t bidi \\u202e\\u2066 <"",
    ]
  `);
  expect(shown.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Bidi_Control}]/u);
});
