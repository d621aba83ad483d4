import { validate, type ValidationError, type ValidatorOptions } from 'class-validator';
import { fieldPath } from '../model/json-plain.js';
import type { Problem } from './schema-errors.js';

/** What class-validator finds wrong with an instance; its asynchronous validators are awaited. */
export async function classProblems(instance: object, what: string): Promise<Problem[]> {
  return problemsOf(await validate(instance, OPTIONS), [what]);
}

const OPTIONS: ValidatorOptions = {
  whitelist: true,
  forbidNonWhitelisted: true,
  forbidUnknownValues: true,
  validationError: { target: false, value: false },
};

function problemsOf(errors: readonly ValidationError[], above: readonly string[]): Problem[] {
  return errors.flatMap(({ property, constraints = {}, children = [] }) => {
    // Absent where class-validator was given an object of no class that it knows.
    const path = property === undefined ? above : [...above, property];
    const own = Object.entries(constraints).map(([rule, message]) => ({
      field: fieldPath(path),
      message,
      rule,
    }));
    return [...own, ...problemsOf(children, path)];
  });
}
