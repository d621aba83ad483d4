/** The members of an event that are shown. */
interface Shown {
  readonly type: 'status' | 'progress';
  readonly status: string;
  readonly progress: number;
  readonly message?: string;
}

/** Prints what happens to a job, wherever it runs, until it has ended; gives each report as it comes. */
export async function* follow(web: string, id: string, name: string): AsyncGenerator<string> {
  const { body, status } = await fetch(`${web}/jobs/${id}/events`);
  if (status !== 200 || body === null) throw new Error(`The events answered ${status}.`);
  let rest = '';
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    const frames = `${rest}${text}`.split('\n\n');
    rest = frames.pop() ?? '';
    for (const frame of frames) {
      const data = /^data: (.*)$/m.exec(frame)?.[1];
      if (data === undefined) continue;
      const event = JSON.parse(data) as Shown;
      const bar = '█'.repeat(Math.round(event.progress * 20)).padEnd(20, '░');
      console.log(`${name}  ${bar}  ${event.status}  ${event.message ?? ''}`.trimEnd());
      if (event.type === 'progress') yield event.message ?? '';
    }
  }
}
