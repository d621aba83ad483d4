import { expect, it } from 'vitest';
import { bar } from '../../sample/main/src/bar.js';
import type { Output } from '../../sample/main/src/follow.js';

it('redraws the bar in place on a terminal, below the lines', () => {
  const { output, written } = recorder({ isTTY: true, columns: 80 });
  const view = bar(output);
  view.update('running', 0.5);
  view.line('a line');
  view.end('the end');
  const half = `[${'█'.repeat(20)}${'░'.repeat(20)}]  50 % running`;
  expect(written()).toBe(`\r\u001b[2K${half}\r\u001b[2Ka line\n${half}\nthe end\n`);
});

it('does not break the line on a narrow terminal', () => {
  const { output, written } = recorder({ isTTY: true, columns: 20 });
  bar(output).update('running', 1);
  bar(output).line('a line');
  const lines = written().replaceAll('\r\u001b[2K', '\n').split('\n');
  expect(lines.every((line) => line.length < 20)).toBe(true);
});

it('writes a line for each tenth and each status elsewhere', () => {
  const { output, written } = recorder({});
  const view = bar(output);
  for (let i = 0; i <= 100; i++) view.update('running', i / 100);
  view.update('completed', 1);
  const lines = written().trimEnd().split('\n');
  expect(lines).toHaveLength(12);
  expect(lines.at(-1)).toMatch(/^\[█{40}\] 100 % completed$/);
});

function recorder(terminal: { isTTY?: boolean; columns?: number }) {
  let text = '';
  const write = (more: string | Uint8Array) => {
    text += String(more);
    return true;
  };
  const output: Output = { isTTY: false, columns: 0, ...terminal, write };
  return { output, written: () => text };
}
