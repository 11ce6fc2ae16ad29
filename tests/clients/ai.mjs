// What Vercel's AI SDK makes of a server's answers, by each of its providers, as one JSON object.
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateObject, generateText, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';

globalThis.AI_SDK_LOG_WARNINGS = false;
const where = { baseURL: process.argv[2] + '/v1', apiKey: 'none' };
const compatible = createOpenAICompatible({ ...where, name: 'llmount', includeUsage: true, supportsStructuredOutputs: true });
const openai = createOpenAI(where);
const providers = { compatible, chat: openai.chat, responses: openai };
const City = z.object({ name: z.string(), people: z.number().int() });
const get_weather = tool({
  description: 'The weather.',
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `sunny in ${city}`,
});
const loop = { tools: { get_weather }, stopWhen: stepCountIs(3) };

const found = {};
for (const [name, provider] of Object.entries(providers)) {
  const asked = (model = 'echo') => ({ model: provider(model), prompt: 'one two three', maxRetries: 0 });
  const told = (found[name] = {});

  const whole = await generateText(asked());
  told.text = [whole.text, whole.finishReason, whole.usage.totalTokens];

  const streamed = streamText(asked());
  told.pieces = [];
  for await (const piece of streamed.textStream) told.pieces.push(piece);
  told.usage = (await streamed.usage).totalTokens;

  told.tools = (await generateText({ ...asked(), ...loop })).text;
  told.toolsStream = await streamText({ ...asked(), ...loop }).text;
  told.object = (await generateObject({ ...asked(), schema: City })).object;
  told.unknown = await generateText(asked('nope')).then(() => 'none', (error) => [error.name, error.statusCode, error.message]);

  told.broken = [];
  const broken = streamText({ ...asked('breaks'), onError: ({ error }) => told.broken.push(error.message ?? String(error)) });
  for await (const piece of broken.textStream) told.broken.push(piece);
}
console.log(JSON.stringify(found));
