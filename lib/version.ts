/** Version of this package; test/version.spec.ts holds it against package.json. */
export const VERSION = '0.1.0';
