// Turns vitest's JSON report into "N passed, N failed"; tests that did not run count as failed.
import { readFileSync } from 'node:fs';

const report = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const passed = report.numPassedTests;
const failed = report.numTotalTests - passed;
// A file that cannot be loaded has no tests to count.
const lost = report.testResults.filter(
  ({ status, assertionResults }) => status === 'failed' && assertionResults.length === 0,
);
for (const { name, message } of lost) console.log(`${name} could not be run: ${message}`);
console.log(`${passed} passed, ${failed + lost.length} failed`);
