// One round of llama.cpp, through the npm package node-llama-cpp, on one model file. Prints one line of JSON:
// tokens per second of prefill, of decode, and of decode of several sequences together.
//
//   node llama_cpp.mjs MODEL THREADS N_PROMPT N_DECODE N_SEQUENCES BATCH_PROMPT
//
// Weights are read into anonymous memory, threads are as many as floe's, the tokens are random and distinct. Times
// include the package's sampling (greedy) and its loop in JavaScript.
import {getLlama, LlamaModel} from "node-llama-cpp";

const [modelPath, ...numbers] = process.argv.slice(2);
const [nThreads, nPrompt, nDecode, nSequences, nBatchPrompt] = numbers.map(Number);

// Its self-test of the tokenizer stops the process on a file that has none (floe synth writes such files).
LlamaModel.prototype.getWarnings = () => [];

const llama = await getLlama({gpu: false, build: "never", maxThreads: nThreads, progressLogs: false, logLevel: "error"});
const model = await llama.loadModel({modelPath, gpuLayers: 0, useMmap: false});
const {metadata} = model.fileInfo;
const nVocab = metadata.tokenizer?.ggml?.tokens?.length ?? metadata[metadata.general.architecture].vocab_size;

// Spread over the vocabulary, the same in every round.
let state = 12345n;
const randomTokens = (n) => Array.from({length: n}, () => {
    state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn;
    return Number((state >> 33n) % BigInt(nVocab));
});

// Seconds until the first token, and per token of the nTokens - 1 after it.
async function generate(sequence, prompt, nTokens) {
    const start = performance.now();
    let first = 0;
    let n = 0;
    for await (const _ of sequence.evaluate(prompt, {temperature: 0, yieldEogToken: true})) {
        n += 1;
        if (n === 1) first = performance.now();
        if (n === nTokens) break;
    }
    if (n < nTokens) throw new Error(`stopped after ${n} of ${nTokens} tokens`);
    return {prefill: (first - start) / 1000, first, end: performance.now()};
}

async function withContext(sequences, tokensEach, run) {
    const context = await model.createContext({
        sequences, contextSize: tokensEach, batchSize: 512, threads: {ideal: nThreads, min: nThreads}
    });
    const result = await run(Array.from({length: sequences}, () => context.getSequence()));
    await context.dispose();
    return result;
}

const result = await withContext(1, nPrompt + nDecode + 32, async ([sequence]) => {
    await generate(sequence, randomTokens(16), 4);  // touches the weights and the cache
    await sequence.clearHistory();
    const {prefill, first, end} = await generate(sequence, randomTokens(nPrompt), nDecode + 1);
    return {pp: nPrompt / prefill, tg: nDecode / ((end - first) / 1000)};
});

// Prompts are short here, so that the sequences decode together almost from the start; only the steps after the last
// prefill and before the first end count.
result.batch = await withContext(nSequences, nBatchPrompt + nDecode + 32, async (sequences) => {
    await Promise.all(sequences.map((sequence) => generate(sequence, randomTokens(4), 2)));
    await Promise.all(sequences.map((sequence) => sequence.clearHistory()));
    const runs = await Promise.all(
        sequences.map((sequence) => generate(sequence, randomTokens(nBatchPrompt), nDecode + 1)));
    const start = Math.max(...runs.map((run) => run.first));
    const end = Math.max(...runs.map((run) => run.end));
    return nSequences * nDecode / ((end - start) / 1000);
});
result.nVocab = nVocab;
console.log(JSON.stringify(result));
process.exit(0);
