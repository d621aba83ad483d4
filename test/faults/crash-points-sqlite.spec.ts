import { testCrashPoints } from './crash-points.js';

testCrashPoints('sqlite');
