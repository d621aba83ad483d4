import { JobsError } from '../../lib/model/errors.js';
import type { JsonValue } from '../../lib/model/json.js';
import type { ParamsContract } from '../../lib/params/contract.js';

/** The error that `accept` ends with; a test fails when it accepts. */
export async function refusalOf(contract: ParamsContract, input: unknown): Promise<JobsError> {
  try {
    await contract.accept(input as JsonValue);
  } catch (error) {
    if (error instanceof JobsError) {
      return error;
    }
    throw error;
  }
  throw new Error(`accepted ${JSON.stringify(input)}`);
}

/** The same, as lines of `field: message`. */
export async function mistakesOf(contract: ParamsContract, input: unknown): Promise<string[]> {
  const { errors = [] } = await refusalOf(contract, input);
  return errors.map(({ field, message }) => `${field}: ${message}`);
}

/** What is stored for an input that is accepted. */
export async function stored(contract: ParamsContract, input?: unknown): Promise<JsonValue> {
  return await contract.accept(input as JsonValue | undefined);
}
