import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { RetryLater, UnrecoverableJobError } from 'nestjs-jobs';
import { expect, it, onTestFinished } from 'vitest';
import { retryAfterMs, type Validator } from '../../sample/main/src/downloads/ranges.js';
import { transfer } from '../../sample/main/src/downloads/transfer.js';
import { verify } from '../../sample/main/src/downloads/verify.js';
import { temporaryFolder } from './support/folder.js';
import { loopback, send, status, type Answer } from './support/loopback.js';
import { bytes } from './support/tree.js';

const CONTENT = bytes(7, 1_000_000);
const LONG_AGO = 'Mon, 02 Jan 2006 15:04:05 GMT';

it('brings the file and reports bytes of the total', async () => {
  const { attempt, content } = await downloading(send(CONTENT));
  const reports = await attempt();
  expect(reports.at(-1)).toEqual([CONTENT.length, CONTENT.length]);
  expect(content().equals(CONTENT)).toBe(true);
});

it.each(['"a tag"', false] as const)('goes on after a cut, proved by ETag %s', async (etag) => {
  const sending = { etag, lastModified: LONG_AGO };
  const { attempt, content, requests } = await downloading(
    send(CONTENT, { ...sending, cutAfter: 1000 }),
    send(CONTENT, sending),
  );
  await expect(attempt()).rejects.toThrow(/^Cannot fetch http.*(terminated|closed)/);
  await attempt();
  expect(content().equals(CONTENT)).toBe(true);
  expect(requests[1]).toEqual({
    range: expect.stringMatching(/^bytes=[1-9]\d*-$/),
    ifRange: etag || LONG_AGO,
  });
});

it('starts over when the server ignores ranges, or has another version', async () => {
  const { attempt, content, requests } = await downloading(
    send(bytes(8, 2_000_000), { cutAfter: 1000 }),
    send(bytes(9, 1_500_000), { cutAfter: 1000 }),
    send(CONTENT, { ignoreRange: true }),
  );
  await expect(attempt()).rejects.toThrow();
  await expect(attempt()).rejects.toThrow();
  await attempt();
  expect(content().equals(CONTENT)).toBe(true);
  expect(requests.map(({ range }) => range !== undefined)).toEqual([false, true, true]);
});

it.each([
  ['only a weak ETag', { etag: 'W/"weak"' }],
  [
    'a time that is too fresh',
    { etag: false, lastModified: new Date(Date.now() + 60_000).toUTCString() },
  ],
  ['no proof at all', { etag: false }],
] as const)('asks for no range with %s', async (_, sending) => {
  const { attempt, content, requests } = await downloading(
    send(CONTENT, { ...sending, cutAfter: 1000 }),
    send(CONTENT, sending),
  );
  await expect(attempt()).rejects.toThrow();
  await attempt();
  expect(content().equals(CONTENT)).toBe(true);
  expect(requests).toEqual([{}, {}]);
});

it('starts over after a range that begins elsewhere', async () => {
  const { attempt, content } = await downloading(
    send(CONTENT, { cutAfter: 1000 }),
    send(CONTENT, { shift: 1 }),
    send(CONTENT),
  );
  await expect(attempt()).rejects.toThrow();
  await expect(attempt()).rejects.toThrow('not the range that was asked for');
  await attempt();
  expect(content().equals(CONTENT)).toBe(true);
});

it('asks for nothing more when the file was whole already', async () => {
  const { attempt, content, requests } = await downloading(send(CONTENT));
  await attempt();
  await attempt();
  expect(requests).toHaveLength(1);
  expect(content().equals(CONTENT)).toBe(true);
});

it('starts over when it has more than the server', async () => {
  const { attempt, content, part } = await downloading(
    send(CONTENT, { cutAfter: 1000 }),
    send(CONTENT),
  );
  await expect(attempt()).rejects.toThrow();
  writeFileSync(part, bytes(1, 1_000_001));
  await expect(attempt()).rejects.toThrow('answered 416');
  await attempt();
  expect(content().equals(CONTENT)).toBe(true);
});

it('gives up a transfer that stalls, before or within the body', async () => {
  const { attempt, content } = await downloading(
    () => undefined,
    send(CONTENT, { stallAfter: 1000 }),
    send(CONTENT),
  );
  await expect(attempt({ stallSec: 0.1 })).rejects.toThrow('no byte came for 0.1 s');
  await expect(attempt({ stallSec: 0.1 })).rejects.toThrow('no byte came for 0.1 s');
  await attempt();
  expect(content().equals(CONTENT)).toBe(true);
});

it('keeps what came when a body ends early and well', async () => {
  const { attempt, content } = await downloading(
    send(CONTENT, { chunked: true, cutAfter: 1000 }),
    send(CONTENT, { chunked: true }),
  );
  const size = CONTENT.length;
  await expect(attempt({ size })).rejects.toThrow('ended after 1000 of 1000000 bytes');
  await attempt({ size });
  expect(content().equals(CONTENT)).toBe(true);
});

it('refuses a file of another size before its body, or as soon as it is too long', async () => {
  const told = await downloading(send(CONTENT));
  await expect(told.attempt({ size: 5 })).rejects.toThrow(UnrecoverableJobError);
  expect(existsSync(told.part)).toBe(false);

  const endless = await downloading((_request, response) => {
    const more = () => void response.write(bytes(1, 1000), more);
    more();
  });
  await endless.attempt({ size: 5 });
  const { length } = endless.content();
  const checked = verify(endless.part, { bytes: length, size: 5, signal: never() });
  await expect(checked).rejects.toThrow(`has ${length} bytes instead of 5`);
  expect(existsSync(endless.part)).toBe(false);
});

it('deletes a file with another checksum', async () => {
  const { attempt, part } = await downloading(send(CONTENT));
  await attempt();
  const checked = verify(part, {
    bytes: CONTENT.length,
    sha256: 'AB'.repeat(32),
    signal: never(),
  });
  await expect(checked).rejects.toThrow(UnrecoverableJobError);
  expect(existsSync(part)).toBe(false);
});

it.each([
  [404, {}, UnrecoverableJobError],
  [401, {}, UnrecoverableJobError],
  [304, {}, UnrecoverableJobError],
  [408, {}, Error],
  [429, {}, Error],
  [500, {}, Error],
  [503, { 'retry-after': '7' }, RetryLater],
  [429, { 'retry-after': '0' }, RetryLater],
] as const)('a %i with %o is the right kind of error', async (code, headers, kind) => {
  const { attempt } = await downloading(status(code, headers));
  const error: unknown = await attempt().catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(kind);
  expect((error as Error).constructor).toBe(kind);
  expect((error as Error).message).toContain(`answered ${code}`);
});

it('reads Retry-After in seconds and as a date', () => {
  const at = (text: string) => retryAfterMs(new Headers({ 'retry-after': text }), 1_000_000);
  expect(at('3')).toBe(3000);
  expect(at(new Date(1_005_000).toUTCString())).toBe(5000);
  expect(at(new Date(0).toUTCString())).toBe(0);
  expect(at('99999999')).toBe(86_400_000);
  expect(at('soon')).toBeUndefined();
  expect(retryAfterMs(new Headers(), 0)).toBeUndefined();
});

it('says why a server cannot be reached', async () => {
  const { attempt, close } = await downloading(send(CONTENT));
  close();
  await expect(attempt()).rejects.toThrow(/Cannot fetch http.*ECONNREFUSED/);
});

it('reports the reason of its own abort', async () => {
  const stop = new AbortController();
  const reason = new Error('enough');
  const { attempt } = await downloading((_request, response) => {
    response.write('some');
    stop.abort(reason);
  });
  await expect(attempt({ signal: stop.signal })).rejects.toBe(reason);
});

async function downloading(...answers: Answer[]) {
  const part = path.join(temporaryFolder(), 'file.part');
  const server = await loopback(answers, part);
  onTestFinished(() => server.close());
  let validator: Validator = {};
  return {
    ...server,
    part,
    content: () => readFileSync(part),
    /** One run of the job; resolves with what it reported. */
    attempt: async (given: { size?: number; stallSec?: number; signal?: AbortSignal } = {}) => {
      const reports: [number, number | undefined][] = [];
      await transfer({ url: server.url, stallSec: 5, ...given }, part, {
        signal: given.signal ?? never(),
        validator,
        onStart: async (known) => {
          validator = known;
        },
        onBytes: (done, total) => reports.push([done, total]),
      });
      return reports;
    },
  };
}

function never(): AbortSignal {
  return new AbortController().signal;
}
