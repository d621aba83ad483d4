import type { Answer } from './sender.js';

/** How a try ends. */
export interface End {
  readonly answer: Answer;
  readonly isLast: boolean;
  /** Whether it ended without a request, so that nothing of a receiver is in it. */
  readonly isOurs?: boolean;
}

/** What a try without a request ends with. */
export function gone(why: string): End {
  return {
    isOurs: true,
    answer: {
      isAcknowledged: false,
      status: undefined,
      durationMs: 0,
      text: undefined,
      error: why,
      askedMs: undefined,
    },
    isLast: true,
  };
}

/**
 * What is kept of an answer, as JSON text. Of a hidden one nothing is: its status, its error and the time
 * it took tell as well what there is where the URL leads.
 */
export function answerText(answer: Answer, isHidden: boolean): string {
  return isHidden
    ? 'null'
    : JSON.stringify({
        status: answer.status ?? null,
        duration_ms: answer.durationMs,
        text: answer.text ?? null,
        error: answer.error ?? null,
      });
}
