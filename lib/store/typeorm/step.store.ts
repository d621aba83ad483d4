import type { Session } from '../dialects/session.js';
import type { StepStore } from '../store.js';
import type { Writer } from '../writer.js';
import type { StepScripts } from './step.scripts.js';

/** Builds the steps' part of the store; what a run writes keeps its order. */
export function stepStore(
  scripts: StepScripts,
  session: () => Session,
  writer: () => Writer,
): StepStore {
  return {
    recall: async (seq) => session().read(() => scripts.recall(seq)),
    resultOf: async (seq, key) => session().read(() => scripts.resultOf(seq, key)),
    remember: async (record) =>
      writer().write((nowMs) => scripts.remember(record, nowMs), 'engine', record.seq),
    wait: async (wait) => writer().write((nowMs) => scripts.wait(wait, nowMs), 'engine', wait.seq),
  };
}
