import { S1, S2 } from './enqueue.mjs';
import { S3, S3_100K, S3_COLD, S6, S7 } from './drain.mjs';
import { S4, S4_TWO } from './latency.mjs';
import { S5, S5_ONE } from './mixed.mjs';
import { MEMORY, S8 } from './footprint.mjs';
import { S9 } from './limits.mjs';
import { S11 } from './schedules.mjs';
import { S12 } from './dependencies.mjs';
import { SNAPSHOT } from './snapshot.mjs';
import { S10 } from './webhooks.mjs';

/** In the order in which they run. */
export const SCENARIOS = [
  S1,
  S2,
  S3,
  S3_100K,
  S3_COLD,
  S4,
  S4_TWO,
  S5,
  S5_ONE,
  S6,
  S7,
  S8,
  S9,
  S10,
  S11,
  S12,
  SNAPSHOT,
  MEMORY,
];
