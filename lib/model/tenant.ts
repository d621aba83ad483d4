/** The tenant of jobs when nobody says otherwise: the nil UUID. */
export const NIL_TENANT = '00000000-0000-0000-0000-000000000000';
