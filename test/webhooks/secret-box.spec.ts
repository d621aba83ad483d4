import { expect, it, onTestFinished, vi } from 'vitest';
import { SecretBox } from '../../lib/webhooks/secret-box.js';

const KEPT = [{ secret: 'whsec_x', untilMs: null }];
const [ONE, TWO] = ['1', '2'].map((digit) => digit.repeat(32)) as [string, string];

it('opens with any of its keys, and says whether it was the newest', async () => {
  const sealed = await new SecretBox(async () => [ONE]).seal(KEPT);
  expect(await new SecretBox(async () => [ONE, TWO]).open(sealed)).toEqual({
    secrets: KEPT,
    isNewest: true,
  });
  expect(await new SecretBox(async () => [TWO, ONE]).open(sealed)).toMatchObject({
    isNewest: false,
  });
  expect(await new SecretBox(async () => [TWO]).open(sealed)).toBeUndefined();
});

it('asks for keys again where none fits, once a minute', async () => {
  vi.useFakeTimers({ toFake: ['performance'] });
  onTestFinished(() => void vi.useRealTimers());
  const sealed = await new SecretBox(async () => [ONE]).seal(KEPT);
  const source = vi.fn(async () => [TWO]);
  const box = new SecretBox(source);
  expect(await box.open(sealed)).toBeUndefined();
  source.mockImplementation(async () => [TWO, ONE]);
  expect(await box.open(sealed)).toBeUndefined();
  expect(source).toHaveBeenCalledTimes(1);
  vi.advanceTimersByTime(60_001);
  expect(await box.open(sealed)).toMatchObject({ secrets: KEPT, isNewest: false });
  expect(source).toHaveBeenCalledTimes(2);
});

it('gives up a source of keys that does not answer, and asks it again', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const source = vi.fn(() => new Promise<string[]>(() => undefined));
  const box = new SecretBox(source);
  const opened = box.open('v1:AAAA').catch((error: unknown) => error);
  await vi.advanceTimersByTimeAsync(10_001);
  expect(await opened).toMatchObject({
    code: 'try_later',
    cause: { message: 'no answer within 10 s' },
  });
  source.mockImplementation(async () => [ONE]);
  await expect(box.seal(KEPT)).resolves.toMatch(/^v1:/);
});
