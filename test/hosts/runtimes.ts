import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../package/support.ts'

/** A runtime with the API of Node: the program, and its arguments before those of a script. */
export interface Runtime {
  readonly file: string
  readonly args: readonly string[]
}

/** Returns Bun, with the settings of no TypeScript project: those of the checkout lead to its sources. */
export function bun(): Runtime {
  const settings = `--tsconfig-override=${join(root, 'test/hosts/bun-tsconfig.json')}`
  const modules = join(root, 'node_modules')
  return {
    file: binaryIn([join(modules, 'bun/bin'), ...foldersIn(join(modules, '@oven'), 'bin')]),
    args: [settings],
  }
}

/** Returns Deno, with all permissions, and packages as npm installs them. */
export function deno(): Runtime {
  const modules = join(root, '.cache/hosts/node_modules')
  return {
    file: binaryIn([join(modules, 'deno'), ...foldersIn(join(modules, '@deno'), '.')]),
    args: ['run', '--allow-all', '--node-modules-dir=manual'],
  }
}

function foldersIn(scope: string, path: string): string[] {
  return readdirSync(scope).map((name) => join(scope, name, path))
}

/** Returns the binary of this platform: an install script moves it, where npm runs such scripts. */
function binaryIn(folders: readonly string[]): string {
  const names = ['bun.exe', 'bun', 'deno.exe', 'deno']
  const files = folders.flatMap((folder) => names.map((name) => join(folder, name)))
  const binary = files.find((file) => (statSync(file, { throwIfNoEntry: false })?.size ?? 0) > 1_000_000)
  if (binary === undefined) throw new Error(`the program is none of ${files.join(', ')}`)
  return binary
}
