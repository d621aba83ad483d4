import { afterAll, afterEach } from 'vitest';

/**
 * What a test opened, closed again in this order: held handlers are let go, then applications are
 * closed (the latest first), then databases are dropped. A failure of any step fails the test.
 */
type Step = () => void | Promise<void>;
export type Lifetime = 'test' | 'file';

interface Registry {
  readonly close: Step[];
  readonly drop: Step[];
}

const registries: Record<Lifetime, Registry> = { test: empty(), file: empty() };

const holds: { readonly release: Step; readonly reset: Step }[] = [];

/** After every test: `release` before anything is closed, `reset` when everything is. */
export function releaseAfterEach(release: Step, reset: Step): void {
  holds.push({ release, reset });
}

export function closeLater(step: Step, lifetime: Lifetime): void {
  registries[lifetime].close.push(step);
}

export function dropLater(step: Step, lifetime: Lifetime): void {
  registries[lifetime].drop.push(step);
}

/**
 * Registers the clean-up for one test file. Files of a worker share their modules, so this cannot
 * happen where the module is first loaded: `set-up.ts` calls it for each file.
 */
export function cleanUpAfterTests(): void {
  afterEach(async () => {
    await runAll([
      ...holds.map((hold) => hold.release),
      ...take('test'),
      ...holds.map((hold) => hold.reset),
    ]);
  });

  afterAll(async () => {
    const steps = [...holds.map((hold) => hold.release), ...take('file')];
    holds.length = 0;
    await runAll(steps);
  });
}

function take(lifetime: Lifetime): Step[] {
  const registry = registries[lifetime];
  const steps = [...registry.close.toReversed(), ...registry.drop.toReversed()];
  registry.close.length = 0;
  registry.drop.length = 0;
  return steps;
}

async function runAll(steps: readonly Step[]): Promise<void> {
  const failures: unknown[] = [];
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length === 1) {
    throw failures[0];
  }
  if (failures.length > 1) {
    throw new AggregateError(failures, `${failures.length} steps of the clean-up failed`);
  }
}

function empty(): Registry {
  return { close: [], drop: [] };
}
