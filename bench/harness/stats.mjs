/** Medians and spreads; everything that the report says about a list of samples. */

/** The value below which the share `q` (0–1) of the samples lies, interpolated. */
export function quantile(samples, q) {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const low = Math.floor(at);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (at - low);
}

export function median(samples) {
  return quantile(samples, 0.5);
}

export function summary(samples) {
  return {
    median: median(samples),
    min: Math.min(...samples),
    max: Math.max(...samples),
    q1: quantile(samples, 0.25),
    q3: quantile(samples, 0.75),
    samples,
  };
}

/** One ratio a round, since only what ran side by side is comparable; then their summary. */
export function ratioByRound(ours, theirs) {
  const ratios = ours
    .map((value, round) => value / theirs[round])
    .filter((ratio) => Number.isFinite(ratio));
  return ratios.length === 0 ? undefined : summary(ratios);
}
