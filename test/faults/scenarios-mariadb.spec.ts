import { testScenarios } from './support/test-scenarios.js';

testScenarios('mariadb');
