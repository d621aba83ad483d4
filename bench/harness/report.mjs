import { ADAPTERS } from '../adapters/index.mjs';
import { ratioByRound, summary } from './stats.mjs';

/** Adds medians, spreads and ratios to the samples of a scenario. */
export function analyse(scenario, result, reference) {
  const at = (name, metric) => result.peers[name].map((each) => each?.[metric] ?? NaN);
  const rows = Object.keys(result.peers).map((name) => {
    const metrics = {};
    const ratios = {};
    for (const metric of Object.keys(scenario.metrics)) {
      const samples = at(name, metric).filter(Number.isFinite);
      if (samples.length === 0) continue;
      metrics[metric] = summary(samples);
      if (name !== reference && reference in result.peers) {
        ratios[metric] = ratioByRound(at(name, metric), at(reference, metric));
      }
    }
    const within = (scenario.within ?? []).map(({ of, to, label }) => ({
      label,
      ratio: ratioByRound(at(name, of), at(name, to)),
    }));
    const against = (ADAPTERS[name].against ?? [])
      .filter((other) => other in result.peers)
      .map((other) => ({
        name: other,
        ratios: Object.keys(metrics).flatMap((metric) => {
          const ratio = ratioByRound(at(name, metric), at(other, metric));
          return ratio === undefined ? [] : [[scenario.metrics[metric].label, ratio]];
        }),
      }));
    return { name, metrics, ratios, within, against };
  });
  return { ...result, rows };
}

export function markdown({ environment, versions, settings, scenarios, reference }) {
  const lines = ['# Benchmark', ''];
  for (const [key, value] of Object.entries({ ...environment, ...settings })) {
    lines.push(`- ${key}: ${Array.isArray(value) ? value.join(' ') : value}`);
  }
  for (const [name, facts] of Object.entries(versions)) {
    const text = Object.entries(facts).map(([key, value]) => `${key} ${value}`);
    lines.push(`- ${name}: ${text.join(', ')}`);
  }
  lines.push(
    '',
    `Medians, in brackets the least and the most. “×” is the median of the ratios to ${reference}, one a round.`,
  );
  for (const scenario of scenarios) lines.push('', ...table(scenario, reference));
  return `${lines.join('\n')}\n`;
}

function table({ id, title, size, rounds, rows, failures, metrics }, reference) {
  const columns = Object.entries(metrics);
  const lines = [
    `## ${id}: ${title}`,
    '',
    `${rounds} rounds, size ${size.toLocaleString('en')}.`,
    '',
    `| peer | ${columns.map(([, { label }]) => label).join(' | ')} |`,
    `|---|${columns.map(() => '---:').join('|')}|`,
  ];
  for (const { name, metrics: measured, ratios } of rows) {
    const cells = columns.map(([key, { digits }]) => cell(measured[key], ratios[key], digits));
    lines.push(`| ${name} | ${cells.join(' | ')} |`);
  }
  for (const { name, within } of rows) {
    for (const { label, ratio } of within) {
      if (ratio) lines.push('', `${name}, ${label}: ${spread(ratio, 2)}`);
    }
  }
  for (const { name, against } of rows) {
    for (const { name: other, ratios } of against) {
      const text = ratios.map(([label, ratio]) => `${label} ${spread(ratio, 2)}`);
      if (text.length > 0) lines.push('', `${name} / ${other}: ${text.join(', ')}`);
    }
  }
  for (const { peer, round, error } of failures) {
    lines.push('', `${peer}, round ${round + 1}, failed: ${error.split('\n')[0]}`);
  }
  if (rows.every(({ name }) => name !== reference)) lines.push('', `(${reference} did not run)`);
  return lines;
}

function cell(measured, ratio, digits) {
  if (measured === undefined) return '';
  const factor = ratio === undefined ? '' : `, × ${spread(ratio, 2)}`;
  return spread(measured, digits) + factor;
}

function spread({ median, min, max }, digits) {
  const text = (value) =>
    value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return `${text(median)} [${text(min)}–${text(max)}]`;
}
