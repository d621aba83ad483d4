import { testScenarios } from './support/test-scenarios.js';

testScenarios('sqlite', 'sqlite3');
