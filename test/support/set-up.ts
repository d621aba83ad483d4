import { cleanUpAfterTests } from './cleanup.js';

cleanUpAfterTests();
