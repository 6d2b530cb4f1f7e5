/** A bug that the simulation has to find: a change of one place in the source. */
export interface Bug {
  readonly name: string
  readonly file: string
  /** The text that is replaced; it occurs once. */
  readonly search: string
  readonly replace: string
}

/** Returns bugs of one file of `src/`. */
export const bugs = (
  file: string,
  ...changes: (readonly [name: string, search: string, replace: string])[]
): Bug[] => changes.map(([name, search, replace]) => ({ name, file: `src/${file}.ts`, search, replace }))
