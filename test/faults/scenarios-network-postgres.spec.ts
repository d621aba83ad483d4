import { testNetwork } from './support/test-scenarios.js';

testNetwork('postgres');
