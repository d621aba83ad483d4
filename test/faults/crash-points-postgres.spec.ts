import { testCrashPoints } from './crash-points.js';

testCrashPoints('postgres');
