// Checked by `npm run types`, and never run: one route for each framework, and for Fastify over HTTP/2.
import express from 'express'
import fastify from 'fastify'
import Koa from 'koa'
import type { Hub } from 'wshub'
import { inspector } from 'wshub/inspector'

declare const hub: Hub
const route = inspector(hub)

express().get('/hub', route)
fastify().get('/hub', route)
fastify({ http2: true }).get('/hub', route)
fastify({ http2: true, https: {} }).get('/hub', route)
new Koa().use(route)
