import { STATUS_CODES } from 'node:http'
import { expect } from 'vitest'
import { answersOf, describeHost } from './host-suite.ts'
import { PagePrograms } from './page-program.ts'

const quote = (text: string) => text.replaceAll('"', '\\"')

const HOSTS = {
  hono: answersOf((_status, message) => message, '404 Not Found'),
  h3: answersOf(
    (status, message) => `{"status":${status},"message":"${quote(message)}"}`,
    expect.stringMatching(
      /^\{"status":404,"message":"Cannot find any route matching \[GET\] [^"]+\/nowhere"\}$/,
    ),
  ),
  hapi: answersOf(
    (status, message) =>
      `{"statusCode":${status},"error":"${STATUS_CODES[status]}","message":"${quote(message)}"}`,
    '{"statusCode":404,"error":"Not Found","message":"Not Found"}',
  ),
}

for (const [name, answers] of Object.entries(HOSTS)) {
  const start = async () => {
    const programs = await PagePrograms.ofSources(`docs/hosts/${name}.md`)
    const program = programs.run(`${name}.mjs`)
    return { program, url: await program.line(), remove: () => programs.remove() }
  }
  describeHost(`the server of docs/hosts/${name}.md`, start, answers)
}
