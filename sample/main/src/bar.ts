import type { Output } from './follow.js';

const WIDTH = 40;
const CLEAR_LINE = '\r\u001b[2K';

/** What shows a job. */
export interface View {
  update(status: string, progress: number): void;
  line(text: string): void;
  /** The last line, below everything. */
  end(text: string): void;
}

/** A bar at the foot of a terminal, redrawn in place; elsewhere a line for each tenth. */
export function bar(output: Output): View {
  return output.isTTY ? redrawn(output) : written(output);
}

function redrawn(output: Output): View {
  let shown = '';
  return {
    update: (status, progress) => {
      shown = draw(status, progress).slice(0, output.columns - 1);
      output.write(CLEAR_LINE + shown);
    },
    line: (text) => void output.write(`${CLEAR_LINE}${text}\n${shown}`),
    end: (text) => void output.write(`\n${text}\n`),
  };
}

function written(output: Output): View {
  let last = '';
  return {
    update: (status, progress) => {
      const tenth = `${status} ${Math.floor(progress * 10)}`;
      if (tenth !== last) output.write(`${draw(status, progress)}\n`);
      last = tenth;
    },
    line: (text) => void output.write(`${text}\n`),
    end: (text) => void output.write(`${text}\n`),
  };
}

function draw(status: string, progress: number): string {
  const full = Math.floor(progress * WIDTH);
  const percent = String(Math.floor(progress * 100)).padStart(3);
  return `[${'█'.repeat(full)}${'░'.repeat(WIDTH - full)}] ${percent} % ${status}`;
}
