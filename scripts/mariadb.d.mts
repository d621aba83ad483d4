/** Where the server's programs are; undefined when they are not there. */
export function mariadbBinaries(): object | undefined;
