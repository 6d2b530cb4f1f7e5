import { createServer } from 'node:http'
import { createServer as createHttp2Server, createSecureServer } from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import express from 'express'
import fastify from 'fastify'
import Koa from 'koa'
import { describe, expect, it } from 'vitest'
import { Hub } from 'wshub'
import { thrownBy } from '../support/hub-server.ts'

describe('Hub#attach', () => {
  it.each<[string, unknown]>([
    ['an Express app', express()],
    ['a Koa app', new Koa()],
    ['a Fastify app', fastify()],
    ['an object', {}],
    ['null', null],
    ['a port', 8080],
    ['a path', '/run/app.sock'],
    ['a function', () => {}],
  ])('refuses %s and keeps no reference to it', async (_name, given) => {
    const hub = new Hub()
    expect(thrownBy(() => hub.attach(given as never))).toMatchObject({
      code: 'WSHUB_ERR_INVALID_OPTION',
      message: expect.stringContaining('pass the server, not the app'),
    })
    expect(await hub.close()).toEqual({ closed: 0, terminated: 0 })
    expect(() => hub.attach(given as never)).toThrow('pass the server')
  })

  it.each([
    ['node:http', () => createServer()],
    ['node:https', () => createHttpsServer()],
    ['node:http2', () => createHttp2Server()],
    ['node:http2 with TLS', () => createSecureServer()],
    ['node:http2 that allows HTTP/1', () => createSecureServer({ allowHTTP1: true })],
  ])('accepts a server of %s', async (_name, create) => {
    const hub = new Hub()
    const server = create()
    hub.attach(server)()
    expect(server.listenerCount('upgrade')).toBe(0)
    await hub.close()
  })
})
